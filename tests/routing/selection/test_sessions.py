"""Which conversation a request belongs to, and who answered it last."""

from typing import Any

import pytest

from routing.selection.sessions import Sessions, Sticky, session_key

SECRET = b"secret"
HEAD = [{"role": "system", "content": "You are terse."}, {"role": "user", "content": "Hello"}]
NEXT = [*HEAD, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "Who are you?"}]


def key(
    messages: list[Any], session_id: str | None = None, organization: str = "alice", secret: bytes = SECRET
) -> bytes:
    return session_key(secret, organization, session_id, messages)


def test_a_conversation_is_known_by_its_head() -> None:
    assert key(HEAD) == key(NEXT)
    assert key(HEAD) != key([{"role": "user", "content": "Hello"}])
    assert key(HEAD) != key([HEAD[0], {"role": "user", "content": "Hullo"}])


def test_of_a_long_head_the_first_thousand_characters_count() -> None:
    first, other = ([{"role": "user", "content": "x" * 1_000 + tail}] for tail in ("yes", "no"))
    assert key(first) == key(other)
    assert key(first) != key([{"role": "user", "content": "x" * 999 + "y"}])


def test_a_session_id_is_stronger_than_the_head() -> None:
    assert key(HEAD, "one") == key([], "one")
    assert key(HEAD, "one") != key(HEAD, "two")
    assert key(HEAD, "") == key(HEAD)


def test_organizations_never_share_a_conversation_and_nobody_can_compute_a_key() -> None:
    assert key(HEAD) != key(HEAD, organization="charlie")
    assert key(HEAD, "one") != key(HEAD, "one", organization="charlie")
    assert key(HEAD) != key(HEAD, secret=b"another")
    assert len(key(HEAD)) == 16


@pytest.mark.parametrize(
    "content",
    ["", None, 5, [], [{"type": "image_url"}], ["text"], [{"type": "text", "text": 5}]],
)
def test_any_shape_of_content_has_a_key(content: Any) -> None:
    assert key([{"role": "user", "content": content}]) == key([{"role": "user", "content": ""}])


def test_text_parts_and_lone_surrogates_count() -> None:
    assert key([{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]) == key(
        [{"role": "user", "content": "Hello"}]
    )
    assert key([{"role": "user", "content": "\ud800"}]) != key([])
    assert key([{"role": "assistant", "content": "Hello"}]) == key([])


def test_the_last_model_is_remembered_for_a_while() -> None:
    sessions = Sessions(life_s=300)
    sticky = Sticky("a/a", "alpha", 2_000, used_s=1_000.0)
    assert sessions.get(key(HEAD), 1_000.0) is None
    sessions.note(key(HEAD), sticky)
    assert sessions.get(key(NEXT), 1_300.0) == sticky
    assert sessions.get(key(NEXT), 1_301.0) is None
    assert len(sessions) == 0


def test_the_conversation_that_rested_longest_goes_first() -> None:
    sessions = Sessions(size=2)
    for name in ("one", "two", "one", "three"):
        sessions.note(key([], name), Sticky(name, "alpha", 1, 0.0))
    assert [sessions.get(key([], name), 0.0) is None for name in ("one", "two", "three")] == [False, True, False]
