"""The items of a cascade's conversation: added, looked at, cut to what was played, taken away."""

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
        await talker.send("conversation.item.retrieve", item_id=item_id)
        await talker.until("error")
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
        await talker.until("error")

    cascade.talk(alice, converse)
    _, second = cascade.gateway.calls_of(model)
    assert second.body["messages"][-2] == {"role": "assistant", "content": "It is sunny."}
