"""What a conversation costs by our own count, what is kept of it, and what a minute of it is estimated at."""

import asyncio
from typing import Any

import pytest

from billing.prices import PriceVersion
from komilion.common.usage import Usage
from routing.catalog.voice import VoiceOffer
from routing.providers.base import Target
from voice.realtime.conversation import Conversation
from voice.realtime.estimate import Exchanged, Spoken, five_minutes, relayed_per_minute
from voice.realtime.meter import Meter
from voice.realtime.reckoning import TAG, Reckoning
from voice.realtime.tab import Spent

NANO_PER_USD = 10**9
PRICE = PriceVersion(
    1,
    {
        "input": 4 * NANO_PER_USD,
        "cache_read": NANO_PER_USD // 10 * 4,
        "input_audio": 32 * NANO_PER_USD,
        "cache_read_audio": NANO_PER_USD // 10 * 4,
        "output": 24 * NANO_PER_USD,
        "output_audio": 64 * NANO_PER_USD,
    },
    (),
    2_500,
)
MINI = PriceVersion(
    2,
    {
        "input": NANO_PER_USD // 10 * 6,
        "cache_read": NANO_PER_USD // 100 * 6,
        "input_audio": 10 * NANO_PER_USD,
        "cache_read_audio": NANO_PER_USD // 10 * 3,
        "output": NANO_PER_USD // 10 * 24,
        "output_audio": 20 * NANO_PER_USD,
    },
    (),
    2_500,
)
SECOND = 64_000  # characters of base64


def test_the_first_hold_pays_for_thirty_seconds_each_way() -> None:
    bounds = Reckoning(PRICE).bounds()
    assert bounds.most == Usage(input_audio=300, output=150, output_audio=600)
    assert bounds.least == Usage(output=25, output_audio=100)


def test_what_was_said_since_the_last_answer_is_input_of_the_next() -> None:
    reckoning = Reckoning(PRICE)
    reckoning.end("r", Usage(input=10, cache_read=20, input_audio=30, cache_read_audio=40, output=5, output_audio=60))
    assert reckoning.context() == Usage(input=35, input_audio=130)
    reckoning.buffer.heard_chars += 3 * SECOND
    reckoning.said.text("Words and 12345, and some more of them...")
    assert reckoning.context() == Usage(input=35 + 16 + 13, input_audio=160)  # 25 letters, and 16 other bytes
    assert reckoning.bounds().least.input_audio == 160
    reckoning.begin("s")
    answer = reckoning.answers["s"]
    answer.audio_chars, answer.text_bytes = 2 * SECOND, 9
    assert reckoning.counted(answer) == Usage(
        input=11, cache_read=35, cache_read_audio=130, output=3, output_audio=40
    )  # what was heard is no item yet


def test_what_is_said_while_an_answer_runs_is_input_of_the_next_one() -> None:
    reckoning = Reckoning(PRICE)
    reckoning.buffer.heard_chars += 2 * SECOND
    reckoning.buffer.commit()
    reckoning.buffer.committed()
    reckoning.begin("r")
    reckoning.buffer.heard_chars += SECOND
    reckoning.end("r", Usage(input_audio=19))
    assert reckoning.context() == Usage(input_audio=29)


def test_an_answer_that_was_asked_for_while_another_one_ran_has_that_as_input() -> None:
    reckoning = Reckoning(PRICE)
    reckoning.begin("interrupted")
    for wishes in ({}, {"conversation": "none"}, {"input": []}):
        reckoning.asked.append(reckoning.asking(wishes))
    reckoning.end("interrupted", Usage(input=2, output=3, output_audio=400))
    next_one, beside, alone = reckoning.asked
    assert next_one.most == next_one.likely == Usage(input=3, input_audio=400)
    assert beside.most == alone.most == Usage()


def test_an_answer_of_which_nothing_is_known_leaves_what_was_said_to_be_counted() -> None:
    reckoning = Reckoning(PRICE)
    reckoning.said.text("1234567890")
    reckoning.begin("r")
    reckoning.end("r", None)
    assert reckoning.context() == Usage(input=10)
    assert not reckoning.answers


def test_what_an_answer_had_instead_of_the_conversation_says_nothing_of_that() -> None:
    reckoning = Reckoning(PRICE)
    reckoning.configure({"instructions": "1234567"}, "")
    reckoning.end("r", Usage(input=9, input_audio=1_000))
    reckoning.asked.append(reckoning.asking({"input": []}))
    reckoning.begin("own input")
    reckoning.end("own input", Usage(input=9, output=3, output_audio=7))
    assert reckoning.context() == Usage(input=12, input_audio=1_007)
    reckoning.asked.append(reckoning.asking({"instructions": "", "tools": []}))
    reckoning.begin("own instructions")
    reckoning.end("own instructions", Usage(input=3, input_audio=1_007))
    assert reckoning.context() == Usage(input=12, input_audio=1_007)


def test_every_answer_that_was_asked_for_or_runs_needs_its_whole_input() -> None:
    reckoning = Reckoning(PRICE)
    reckoning.updated({"audio": {"input": {"turn_detection": None}}})
    reckoning.end("r", Usage(input_audio=1_000))
    assert reckoning.needs(5) == Usage(input_audio=1_000, output=25, output_audio=100)
    reckoning.begin("a")
    reckoning.asked.append(reckoning.asking({"conversation": "none", "instructions": "123"}))
    assert reckoning.needs(5) == Usage(input=5, input_audio=2_000, output=50, output_audio=200)
    asking = reckoning.asking({})
    assert reckoning.needs(0, asking) == Usage(input=5, input_audio=3_000)
    reckoning.updated({"audio": {}})  # whoever speaks has another one begin
    assert reckoning.needs(0, asking, heard_s=1) == Usage(input=5, input_audio=4_010)


def test_an_answer_with_an_input_of_its_own_does_not_hear_the_conversation() -> None:
    reckoning = Reckoning(PRICE)
    reckoning.configure({"instructions": "1234567"}, "")
    reckoning.end("r", Usage(input_audio=1_000))
    part = {"type": "input_audio", "audio": "A" * SECOND}
    item = {"type": "message", "role": "user", "content": [part]}
    assert reckoning.asking({"input": [item]}).most == Usage(input=9, input_audio=10)
    reference = {"type": "item_reference", "id": "item_1"}
    assert reckoning.asking({"input": [item, reference]}).most == Usage(input_audio=1_010)


def test_answers_begin_in_the_order_in_which_they_were_asked_for_inside_and_outside_of_the_conversation() -> None:
    reckoning = Reckoning(PRICE)
    first, beside, third = (
        reckoning.asking(wishes, name) for name, wishes in (("1", {}), ("2", {"conversation": "none"}), ("3", {}))
    )
    reckoning.asked += [first, beside, third]
    reckoning.begin("b", is_beside=True)
    reckoning.begin("f")
    assert reckoning.answers == {"b": beside, "f": first}
    reckoning.refused("1")
    assert reckoning.asked == [third]
    reckoning.refused("3")
    assert not reckoning.asked
    reckoning.begin("x", is_beside=True)
    assert reckoning.answers["x"].is_beside


def test_an_answer_is_the_one_whose_event_its_metadata_name() -> None:
    reckoning = Reckoning(PRICE)
    short, long = (reckoning.asking({"instructions": "x" * size}, name) for name, size in (("1", 4), ("2", 4_000)))
    reckoning.asked += [short, long]
    reckoning.begin("by itself", told={"metadata": None})
    reckoning.begin("l", told={"metadata": {TAG: "2"}})
    assert reckoning.answers["l"] is long
    assert reckoning.asked == [short]
    reckoning.begin("of a provider that keeps none", told={})
    assert reckoning.answers["of a provider that keeps none"] is short


def test_an_answer_beside_the_conversation_adds_nothing_to_it(settings: Any) -> None:
    tab: Any = None
    offer = VoiceOffer("acme/m", "p", "openai", Target("http://x", "k", "m", frozenset()), PRICE)
    meter = Meter(tab, offer, lambda error: None)
    meter.reckoning.end("r", Usage(input=10))
    charged: list[Spent] = []
    meter._turn = lambda spent, response_id: _note(charged, spent)

    async def run() -> None:
        usage = {"input_tokens": 5, "output_tokens": 7}
        meter.ended({"id": "b", "conversation_id": None, "status": "completed", "usage": usage}, {})
        await meter.settled()

    asyncio.run(run())
    assert charged[0].usage == Usage(input=5, output=7)
    assert meter.reckoning.context() == Usage(input=10)


async def _note(charged: list[Spent], spent: Spent) -> None:
    charged.append(spent)


def test_what_runs_costs_what_was_delivered_of_it() -> None:
    reckoning = Reckoning(PRICE)
    assert reckoning.needs_nano(0) == 0
    reckoning.begin("a")
    reckoning.begin("b")
    reckoning.answers["a"].audio_chars = SECOND
    assert reckoning.needs_nano(0) == 1_600_000  # 20 x $64 / 10^6, and the fee


def session_of(heard: str = "audio/pcm", spoken: str = "audio/pcm", **fields: Any) -> dict[str, Any]:
    return {"audio": {"input": {"format": {"type": heard}}, "output": {"format": {"type": spoken}}}, **fields}


def test_the_format_says_how_long_audio_is_from_when_it_was_sent() -> None:
    reckoning = Reckoning(PRICE)
    reckoning.updated(session_of("audio/pcmu"))
    reckoning.buffer.append(10_666)
    reckoning.configure(session_of(), "", "switch")
    reckoning.buffer.append(10_666)  # it may be refused yet
    assert reckoning.context().input_audio == 20
    reckoning.updated(session_of())
    reckoning.buffer.append(SECOND)
    assert reckoning.context().input_audio == 30


def test_an_update_that_is_refused_changes_no_format() -> None:
    reckoning = Reckoning(PRICE)
    reckoning.updated(session_of("audio/pcmu"))
    reckoning.configure(session_of(), "", "switch")
    reckoning.refused("switch")
    reckoning.buffer.append(10_666)
    assert reckoning.context().input_audio == 10


@pytest.mark.parametrize(
    ("session", "wishes", "told", "chars"),
    [
        ("audio/pcm", None, None, 2 * SECOND),
        ("audio/pcmu", None, None, 21_332),
        ("audio/pcm", "audio/pcmu", None, 21_332),
        ("audio/pcma", "audio/pcm", None, 2 * SECOND),
        ("audio/pcm", None, "audio/pcma", 21_332),
    ],
)
def test_each_answer_is_counted_by_its_own_format(
    session: str, wishes: str | None, told: str | None, chars: int
) -> None:
    tab: Any = None
    offer = VoiceOffer("acme/m", "p", "openai", Target("http://x", "k", "m", frozenset()), PRICE)
    meter = Meter(tab, offer, lambda error: None)
    reckoning = meter.reckoning
    reckoning.updated(session_of(spoken=session))
    reckoning.asked.append(reckoning.asking(_output_of(wishes)))
    meter.began({"id": "r", **_output_of(told)})
    reckoning.updated(session_of(spoken="audio/pcma"))  # for the next one
    meter._rolling.note_first_content = lambda: None
    meter.spoke("r", chars)
    assert reckoning.counted(reckoning.answers["r"]).output_audio == 40


def _output_of(format_type: str | None) -> dict[str, Any]:
    return {} if format_type is None else {"audio": {"output": {"format": {"type": format_type}}}}


def test_answers_that_are_written_are_held_for_as_text() -> None:
    reckoning = Reckoning(PRICE)
    reckoning.updated(session_of(output_modalities=["text"]))
    assert reckoning.bounds().most == Usage(input_audio=300, output=3_000)
    push_to_talk = {"audio": {"input": {"turn_detection": None}}, "output_modalities": ["text"]}
    spoken = reckoning.asking({"output_modalities": ["audio"]})
    reckoning.updated(push_to_talk)
    assert reckoning.needs(5, spoken) == Usage(output=25, output_audio=100)


def test_a_picture_is_text_where_the_price_knows_no_pictures() -> None:
    reckoning = Reckoning(PRICE)
    part = {"type": "input_image", "image_url": "data:image/png;base64,AA"}
    reckoning.said.item({"type": "message", "role": "user", "content": [part]})
    assert reckoning.bounds().least.input == 1_024
    PRICE.charge(reckoning.bounds().most)


def spoken_item(number: int) -> dict[str, Any]:
    part = {"type": "output_audio", "transcript": f"said {number}"}
    return {"id": f"i{number}", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def test_items_are_kept_as_text_and_the_oldest_are_forgotten(settings: Any) -> None:
    settings.REALTIME_REPLAY_ITEMS = 2
    conversation = Conversation()
    for number in range(3):
        conversation.keep(spoken_item(number))
    assert list(conversation.items) == ["i1", "i2"]
    kept = conversation.items["i2"]
    content = [{"type": "output_text", "text": "said 2"}]
    assert kept == {"id": "i2", "type": "message", "role": "assistant", "content": content}
    conversation.delete("i2")
    conversation.delete("unknown")
    assert list(conversation.items) == ["i1"]


def test_audio_without_a_transcript_is_not_kept_and_pictures_are() -> None:
    conversation = Conversation()
    heard = {"type": "input_audio", "transcript": None}
    conversation.keep({"id": "a", "type": "message", "role": "user", "content": [heard]})
    assert not conversation.items
    conversation.transcribed("a", "Hello")
    conversation.transcribed("b", "")
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AA"}
    conversation.keep({"id": "c", "type": "message", "role": "user", "content": [picture]})
    conversation.keep({"id": "d", "type": "function_call_output", "call_id": "x", "output": "{}"})
    assert list(conversation.items) == ["a", "c", "d"]
    assert conversation.items["a"]["content"] == [{"type": "input_text", "text": "Hello"}]


def test_audio_is_kept_until_it_was_answered(settings: Any) -> None:
    settings.REALTIME_REPLAY_AUDIO_BYTES = 30
    conversation = Conversation()
    hear(conversation, "abc")
    conversation.committed(20)
    conversation.heard("d" * 10, 30)  # the oldest goes
    assert conversation.committed_frames == 1
    conversation.began()
    conversation.answered()
    assert [heard.frame[0] for heard in conversation.unanswered] == ["c", "d"]
    assert conversation.take_unanswered() == ["c" * 10, "d" * 10]
    assert not conversation.unanswered


def hear(conversation: Conversation, letters: str) -> None:
    """Ten characters of audio for each letter."""
    for number, letter in enumerate(letters):
        conversation.heard(letter * 10, number * 10)


def test_what_was_heard_after_a_commit_or_a_clear_is_there_when_that_is_confirmed() -> None:
    conversation = Conversation()
    hear(conversation, "abcdef")
    conversation.committed(15)  # in the middle of a piece, which is in the item
    conversation.cleared(40)
    assert "".join(heard.frame[0] for heard in conversation.unanswered) == "abef"
    conversation.began()
    conversation.answered()
    assert "".join(heard.frame[0] for heard in conversation.unanswered) == "ef"


def test_a_configuration_is_merged_field_by_field_but_for_what_has_a_type() -> None:
    vad = {"type": "server_vad", "threshold": 0.4}
    conversation = Conversation({"type": "realtime", "model": "m", "audio": {"input": {"turn_detection": vad}}})
    conversation.configure({"type": "realtime", "audio": {"output": {"voice": "ash"}}, "instructions": "Hi"})
    conversation.configure({"type": "realtime", "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}})
    assert conversation.config == {
        "type": "realtime",
        "instructions": "Hi",
        "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}, "output": {"voice": "ash"}},
    }


def test_the_conversation_of_the_estimate_lasts_five_minutes() -> None:
    spoken = five_minutes()
    assert spoken.seconds == 300
    said_ms = sum(turn.heard_ms + turn.spoken_ms for turn in spoken.turns)
    assert 240_000 <= said_ms <= 300_000


def test_an_estimate_is_what_the_calls_of_the_conversation_would_be_charged() -> None:
    spoken = Spoken(60, 100, (Exchanged(2_000, 1_000), Exchanged(1_000, 3_000)))
    first = Usage(input=100, input_audio=20, output=5, output_audio=20)
    second = Usage(input=5, cache_read=100, input_audio=30, cache_read_audio=20, output=15, output_audio=60)
    assert relayed_per_minute(PRICE, spoken) == PRICE.charge(first).charge + PRICE.charge(second).charge


@pytest.mark.parametrize(("price", "most_usd"), [(PRICE, 0.15), (MINI, 0.04)])
def test_premium_and_balanced_cost_no_more_a_minute_than_promised(price: PriceVersion, most_usd: float) -> None:
    assert relayed_per_minute(price) / NANO_PER_USD <= most_usd
