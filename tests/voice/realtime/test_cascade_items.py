"""The items of a cascade's conversation: added, looked at, cut to what was played, taken away."""

from typing import Any

from tests.fakes.replies import Reply
from tests.routing.gates import Gate
from tests.stand import Tenant
from tests.voice.realtime.cascading import Cascade, ask_in_text
from tests.voice.realtime.talking import Talker


def test_items_are_told_and_taken_away(cascade: Cascade, alice: Tenant) -> None:
    model = cascade.parts()

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker, "Forget this.")
        item_id = talker.of("conversation.item.added")[0]["item"]["id"]
        await talker.send("conversation.item.retrieve", item_id=item_id)
        assert (await talker.until("conversation.item.retrieved"))["item"]["id"] == item_id
        await talker.send("conversation.item.delete", item_id=item_id)
        await talker.until("conversation.item.deleted")
        for kind in ("retrieve", "delete"):
            await talker.send(f"conversation.item.{kind}", item_id=item_id)
            assert (await talker.until("error"))["error"]["code"] == f"item_{kind}_invalid_item_id"
        await ask_in_text(talker, "Keep this.")
        await talker.answer()

    cascade.talk(alice, converse)
    (call,) = cascade.gateway.calls_of(model)
    assert [message["content"] for message in call.body["messages"][1:]] == ["Keep this."]


def test_what_was_not_played_is_not_remembered(cascade: Cascade, alice: Tenant) -> None:
    model = cascade.parts()

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.answer()
        item_id = talker.of("response.output_item.done")[0]["item"]["id"]
        place = {"item_id": item_id, "content_index": 0, "audio_end_ms": 380}
        await talker.send("conversation.item.truncate", **place)
        await talker.until("conversation.item.truncated")
        await ask_in_text(talker, "What did you say?")
        await talker.answer()
        await talker.send("conversation.item.truncate", **{**place, "item_id": "nothing"})
        assert (await talker.until("error"))["error"]["code"] == "item_truncate_invalid_item_id"

    cascade.talk(alice, converse)
    _, second = cascade.gateway.calls_of(model)
    assert second.body["messages"][-2] == {"role": "assistant", "content": "It is sunny."}


def message(text: str, **fields: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **fields}


def test_an_item_comes_where_the_client_puts_it(cascade: Cascade, alice: Tenant) -> None:
    model = cascade.parts()

    async def converse(talker: Talker) -> None:
        for name, previous in (("b", None), ("d", None), ("c", "b"), ("a", "root")):
            item = message(name, id=name)
            await talker.send("conversation.item.create", item=item, previous_item_id=previous)
            await talker.until("conversation.item.done")
        await talker.send("conversation.item.create", item=message("x", id="x"), previous_item_id="nobody")
        assert (await talker.until("error"))["error"]["param"] == "previous_item_id"
        await talker.answer()

    talker = cascade.talk(alice, converse)
    (call,) = cascade.gateway.calls_of(model)
    assert [told["content"] for told in call.body["messages"][1:]] == ["a", "b", "c", "d"]
    assert [event["previous_item_id"] for event in talker.of("conversation.item.added")[:4]] == [None, "b", "b", None]


def test_a_result_of_a_function_that_nobody_called_is_refused(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts()

    async def converse(talker: Talker) -> None:
        item = {"type": "function_call_output", "call_id": "call_nobody", "output": "rain"}
        await talker.send("conversation.item.create", item=item)
        assert (await talker.until("error"))["error"]["param"] == "item.call_id"

    cascade.talk(alice, converse)


def test_no_more_can_be_cut_off_than_there_is(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts()

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.answer()
        item_id = talker.of("response.output_item.done")[0]["item"]["id"]
        for wrong in ({"audio_end_ms": 60_000}, {"content_index": 1}):
            place = {"item_id": item_id, "content_index": 0, "audio_end_ms": 0, **wrong}
            await talker.send("conversation.item.truncate", **place)
            assert (await talker.until("error"))["error"]["param"] == next(iter(wrong))
        await talker.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=0)
        await talker.until("conversation.item.truncated")
        await talker.send("conversation.item.retrieve", item_id=item_id)
        assert (await talker.until("conversation.item.retrieved"))["item"]["content"] == []

    cascade.talk(alice, converse)


def test_an_answer_can_be_cut_to_what_was_played_while_it_is_still_being_charged(
    cascade: Cascade, alice: Tenant
) -> None:
    gate = Gate(before=2, reply=Reply(content="It is sunny. Then it will rain. " * 8, frames=8))
    cascade.parts(gate.script, provider="up-cancelling")

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.send("response.create")
        sound = await talker.until("response.output_audio.delta")
        await talker.send("response.cancel")
        place = {"item_id": sound["item_id"], "content_index": 0, "audio_end_ms": 100}
        await talker.send("conversation.item.truncate", **place)
        await talker.until("conversation.item.truncated")
        gate.open()
        if not talker.of("x_komilion.cost"):
            await talker.until("x_komilion.cost")

    assert cascade.talk(alice, converse).of("error") == []
