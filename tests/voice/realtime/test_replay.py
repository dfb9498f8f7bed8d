"""What another connection is told of the audio: each piece once, and commits where they were."""

import asyncio
import threading
from typing import Any

import pytest

from tests.async_waiting import eventually
from tests.fakes.realtime import RealtimeScript
from tests.stand import Tenant
from tests.voice.realtime.dropping import hold_up
from tests.voice.realtime.talking import Stand, Talker, sound, talking

APPEND, COMMIT, CLEAR = (f"input_audio_buffer.{kind}" for kind in ("append", "commit", "clear"))
FIRST, SECOND, THIRD = sound(200, loud=True), sound(300, loud=True), sound(400, loud=True)


async def push_to_talk(talker: Talker) -> None:
    """Have the client say when a turn is over."""
    await talker.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    await talker.until("session.updated")


async def append(talker: Talker, *pieces: str) -> None:
    for audio in pieces:
        await talker.send(APPEND, audio=audio)


async def lose_connection(talker: Talker) -> None:
    """By the script `LOST_ON_DELETE`."""
    await talker.send("conversation.item.delete", item_id="nobody's")


LOST_ON_DELETE: dict[str, Any] = {"lost_at": "conversation.item.deleted"}


async def replayed(stand: Stand, model: str, count: int) -> list[str]:
    """What the second connection was told of audio, once that is so many events: audio, or else the kind of event."""

    def told() -> list[str]:
        sessions = stand.sessions_of(model)
        events = sessions[1].received if len(sessions) > 1 else []
        return [event.get("audio", event["type"]) for event in events if event["type"] in (APPEND, COMMIT, CLEAR)]

    await eventually(lambda: len(told()) >= count)
    return told()


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    return hold_up(monkeypatch)


def test_a_piece_that_comes_while_there_is_no_connection_is_sent_once(
    stand: Stand, alice: Tenant, held_up: threading.Event
) -> None:
    model = stand.model(RealtimeScript(**LOST_ON_DELETE))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await push_to_talk(talker)
            await append(talker, FIRST)
            await lose_connection(talker)
            await eventually(held_up.is_set)
            await append(talker, SECOND)
            await talker.send(COMMIT)
            assert await replayed(stand, model, 3) == [FIRST, SECOND, COMMIT]

    asyncio.run(converse())


def test_an_item_that_comes_while_there_is_no_connection_is_made_once(
    stand: Stand, alice: Tenant, held_up: threading.Event
) -> None:
    model = stand.model(RealtimeScript(**LOST_ON_DELETE))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await lose_connection(talker)
            await eventually(held_up.is_set)
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
            await talker.send("conversation.item.create", item=item)
            await talker.answer()
            added = [event for event in talker.of("conversation.item.added") if event["item"]["role"] == "user"]
            assert len(added) == 1
            assert stand.sessions_of(model)[1].types() == ["conversation.item.create", "response.create"]

    asyncio.run(converse())


def test_a_commit_that_was_not_confirmed_is_repeated_where_it_was(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(lost_at="input_audio_buffer.committed"))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await push_to_talk(talker)
            await append(talker, FIRST)
            await talker.send(COMMIT)
            await append(talker, SECOND)
            assert await replayed(stand, model, 3) == [FIRST, COMMIT, SECOND]

    asyncio.run(converse())


def test_two_commits_are_two_items_to_the_next_connection_too(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(lost_at="response.created", begins_after_s=0.2))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await push_to_talk(talker)
            await append(talker, FIRST)
            await talker.send(COMMIT)
            await talker.until("input_audio_buffer.committed")
            await talker.send("response.create")
            await append(talker, SECOND)
            assert await replayed(stand, model, 3) == [FIRST, COMMIT, SECOND]

    asyncio.run(converse())


def test_what_was_thrown_away_is_not_said_again_and_the_client_hears_of_that_once(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(lost_at="input_audio_buffer.cleared"))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await push_to_talk(talker)
            await append(talker, FIRST)
            await talker.send(CLEAR)
            await append(talker, SECOND)
            await talker.send(COMMIT)
            assert await replayed(stand, model, 2) == [SECOND, COMMIT]
            await talker.until("input_audio_buffer.committed")
            assert talker.types().count("input_audio_buffer.cleared") == 1

    asyncio.run(converse())


@pytest.mark.parametrize(("event", "kept"), [(COMMIT, [SECOND, THIRD]), (CLEAR, [SECOND, THIRD])])
def test_what_was_appended_before_a_commit_or_a_clear_was_confirmed_is_not_lost(
    stand: Stand, alice: Tenant, event: str, kept: list[str]
) -> None:
    model = stand.model(RealtimeScript(delay_s=0.05, **LOST_ON_DELETE))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await push_to_talk(talker)
            await append(talker, FIRST)
            await talker.send(event)
            await append(talker, SECOND)
            await talker.until("input_audio_buffer.committed" if event == COMMIT else "input_audio_buffer.cleared")
            await append(talker, THIRD)
            await talker.answer()
            await lose_connection(talker)
            assert await replayed(stand, model, 2) == kept

    asyncio.run(converse())


def test_every_answer_that_was_asked_for_and_of_which_nothing_came_is_asked_for_again(
    stand: Stand, alice: Tenant
) -> None:
    model = stand.model(RealtimeScript(lost_at="response.created", begins_after_s=0.2))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            for number in range(3):
                metadata = {"number": str(number)}
                wishes = {"conversation": "none", "metadata": metadata, "instructions": f"Say {number}."}
                await talker.send("response.create", response=wishes)
            for _ in range(3):
                await talker.until("response.done", lambda event: event["response"]["status"] == "completed")
            again = [event["response"]["instructions"] for event in stand.sessions_of(model)[1].received]
            assert again == ["Say 0.", "Say 1.", "Say 2."]
            done = [event["response"] for event in talker.of("response.done")]
            told = [response["metadata"] for response in done if response["status"] == "completed"]
            assert sorted(each["number"] for each in told) == ["0", "1", "2"]

    asyncio.run(converse())


@pytest.mark.parametrize("wishes", [{"conversation": "none"}, {}])
def test_an_answer_says_nothing_of_what_it_was_no_answer_to(
    stand: Stand, alice: Tenant, wishes: dict[str, str]
) -> None:
    """One that is outside of the conversation, and one that ran while more was said."""
    model = stand.model(RealtimeScript(audio_ms=600, pause_s=0.1, **LOST_ON_DELETE))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await push_to_talk(talker)
            await talker.send("response.create", response=wishes)
            await talker.until("response.created")
            await append(talker, FIRST)
            await talker.send(COMMIT)
            await talker.until("input_audio_buffer.committed")
            await talker.until("response.done")
            await lose_connection(talker)
            assert await replayed(stand, model, 2) == [FIRST, COMMIT]

    asyncio.run(converse())
