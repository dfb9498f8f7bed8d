"""What feedback does to a model, and how little one organization can do alone."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.selection.offsets import HALF_LIFE_S, LARGEST_OFFSET, Feedback, Offsets, band
from routing.selection.words import TASKS
from tests.routing.selection.stand_ins import Row, market

ALONE_AT_MOST = 0.05  # logit


def vote(score: float = 1.0, organization: str = "alice", p: float = 0.5, **rest: object) -> Feedback:
    """A vote on a middling math question answered by the first revision."""
    fields: dict[str, object] = {"revision": "a/a@1", "task": "math", "difficulty": 0.0} | rest
    return Feedback(probability=p, score=score, organization=organization, **fields)  # type: ignore[arg-type]


def after(*votes: Feedback, now_s: float = 0.0) -> float:
    """The offset of the cell."""
    offsets = Offsets()
    for each in votes:
        offsets.note(each, 0.0)
    return offsets.offset("a/a@1", "math", 1, now_s)


def test_nothing_is_known_without_feedback() -> None:
    assert Offsets().offset("a/a@1", "math", 1, 0.0) == 0.0


def test_one_vote_is_one_newton_step() -> None:
    assert after(vote(1.0, p=0.5)) == pytest.approx(0.5 / (0.25 + 16))
    assert after(vote(0.0, p=0.8)) == pytest.approx(-0.8 / (0.16 + 16))
    assert after(vote(0.7, p=0.7)) == 0.0


def test_a_vote_moves_its_own_cell_alone() -> None:
    offsets = Offsets()
    offsets.note(vote(difficulty=2.0), 0.0)
    assert offsets.offset("a/a@1", "math", 2, 0.0) > 0
    assert offsets.offset("a/a@1", "math", 1, 0.0) == 0
    assert offsets.offset("a/a@1", "writing", 2, 0.0) == 0
    assert offsets.offset("a/a@2", "math", 2, 0.0) == 0


def test_bands_of_difficulty() -> None:
    assert [band(difficulty) for difficulty in (-3, -0.5, 0, 0.5, 0.51)] == [0, 0, 1, 1, 2]


def test_one_organization_alone_moves_a_twentieth_at_most() -> None:
    for p in (0.01, 0.5, 0.99):
        for score in (0.0, 1.0):
            assert abs(after(*[vote(score, p=p)] * 500)) <= ALONE_AT_MOST + 1e-9


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1e8)), max_size=60))
@settings(deadline=None)
def test_no_votes_of_one_organization_move_more(votes: list[tuple[float, float, float]]) -> None:
    offsets = Offsets()
    for score, p, now_s in votes:
        offsets.note(vote(score, p=p), now_s)
        assert abs(offsets.offset("a/a@1", "math", 1, now_s)) <= ALONE_AT_MOST + 1e-9


def test_it_takes_ten_organizations_that_agree_to_reach_the_limit() -> None:
    def said_by(number: int) -> float:
        return after(*[vote(0.0, f"organization {n}", p=0.98) for n in range(number) for _ in range(300)])

    assert said_by(1) > said_by(4) > said_by(9) > -LARGEST_OFFSET
    assert said_by(32) == -LARGEST_OFFSET


def test_newer_votes_replace_older_ones_of_the_same_organization() -> None:
    assert after(*[vote(0.0)] * 40) < 0 < after(*[vote(0.0)] * 40, *[vote(1.0)] * 40)


def test_votes_fade() -> None:
    now, later = (after(vote(), now_s=time_s) for time_s in (0.0, HALF_LIFE_S))
    assert later == pytest.approx(now / 2, rel=0.02)


def test_the_version_counts_votes() -> None:
    offsets = Offsets()
    for _ in range(3):
        offsets.note(vote(), 0.0)
    assert offsets.version == 3


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_a_score_outside_of_its_range_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        Offsets().note(vote(score), 0.0)


def test_a_dump_is_read_again_and_anything_else_refused() -> None:
    offsets = Offsets()
    offsets.note(vote(), 7.0)
    offsets.note(vote(organization="bob"), 8.0)
    again = Offsets.loads(offsets.dumps())
    assert again.dumps() == offsets.dumps()
    assert again.version == 2
    with pytest.raises(msgspec.DecodeError):
        Offsets.loads(b"no such thing")


def test_merged_states_are_the_sum_and_an_organization_is_limited_in_it() -> None:
    parts = []
    for number in range(4):
        offsets = Offsets()
        for _ in range(100):
            offsets.note(vote(0.0, p=0.98), float(number))
        parts.append(offsets.dumps())
    whole = Offsets.merged(parts)
    assert whole.version == 400
    assert abs(whole.offset("a/a@1", "math", 1, 3.0)) <= ALONE_AT_MOST + 1e-9
    others = Offsets()
    others.note(vote(0.0, "bob"), 3.0)
    assert Offsets.merged([*parts, others.dumps()]).offset("a/a@1", "math", 1, 3.0) < whole.offset(
        "a/a@1", "math", 1, 3.0
    )


def test_state_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.selection.offsets.CELLS_KEPT", 3)
    monkeypatch.setattr("routing.selection.offsets.ORGANIZATIONS_KEPT", 3)
    offsets = Offsets()
    for number in range(6):
        offsets.note(vote(revision=f"a/{number}@1"), float(number))
    assert [offsets.offset(f"a/{number}@1", "math", 1, 6.0) > 0 for number in range(6)] == [False] * 3 + [True] * 3
    for number in range(6):
        for _ in range(number + 1):
            offsets.note(vote(0.0, f"organization {number}", revision="b/b@1"), 7.0)
    least = offsets.offset("b/b@1", "math", 1, 7.0)
    assert least == pytest.approx(-(0.8 + 0.8 + 0.8) / (1.0 + 1.0 + 1.0 + 16), rel=0.05)


def test_a_forgotten_organization_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Being pushed out by others is no way to pour more into a cell."""
    monkeypatch.setattr("routing.selection.offsets.ORGANIZATIONS_KEPT", 2)
    offsets = Offsets()
    for _ in range(50):
        offsets.note(vote(0.0, "charlie", p=0.98), 0.0)
        offsets.note(vote(0.5, "alice"), 0.0)
        offsets.note(vote(0.5, "bob"), 0.0)
    assert abs(offsets.offset("a/a@1", "math", 1, 0.0)) <= ALONE_AT_MOST + 1e-9


def test_a_view_has_the_offsets_of_the_models_that_are_there() -> None:
    here = market(Row("a/a"), Row("b/b"))
    revision = here.facts.models[1].revision
    offsets = Offsets()
    offsets.note(vote(revision=revision, difficulty=2.0), 0.0)
    offsets.note(vote(revision="gone/away@1"), 0.0)
    offsets.note(vote(revision=revision, task="no-such-task"), 0.0)
    view = offsets.view(here, 0.0)
    assert view.version == 3
    assert view.at("math", 2.0).tolist() == [0.0, pytest.approx(0.5 / 16.25)]
    assert all(view.at(task, 0.0) is None for task in TASKS)


def test_another_version_at_a_provider_is_another_revision() -> None:
    old, new = (market(Row("a/a", upstream_id=name)).facts.models[0].revision for name in ("a-2025", "a-2026"))
    assert old != new
    assert old.startswith("a/a@")
