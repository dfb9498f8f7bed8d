"""The pieces of the cascade that touch nothing: sentences of a text that is written, turns of audio that comes,
messages of a conversation, what was heard of a sentence that was cut.
"""

import base64
from typing import Any

import numpy as np
import pytest

from komilion.common.audio import pcm
from komilion.common.errors import BadRequest
from tests.komilion.audio.tones import noise, pitch_hz, tone
from tests.voice.spoken import needs_espeak, spoken
from voice.realtime import cascade_ears
from voice.realtime.cascade_answer import Item, Said
from voice.realtime.cascade_chat import SPOKEN, chat_of, messages_of
from voice.realtime.cascade_ears import Began, Ears, Ended
from voice.realtime.cascade_spoken import heard_until
from voice.realtime.cascade_text import LONGEST, Sentences, speakable


def cut(text: str, size: int) -> list[str]:
    sentences = Sentences()
    found: list[str] = []
    for start in range(0, len(text), size):
        found += sentences.feed(text[start : start + size])
    return [*found, *sentences.finish()]


@pytest.mark.parametrize("size", [1, 3, 1_000])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there. How are you? Fine!", ["Hello there.", "How are you?", "Fine!"]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        (
            "Dr. Smith and Mr. J. Doe met at 3.5 km e.g. here. Yes.",
            ["Dr. Smith and Mr. J. Doe met at 3.5 km e.g. here.", "Yes."],
        ),
        ("1. Wash it. 2. Dry it.", ["1. Wash it.", "2. Dry it."]),
        ("Wait... what?! Really", ["Wait...", "what?!", "Really"]),
        ("One\nTwo\n\nThree", ["One", "Two", "Three"]),
        ("今日は晴れです。明日は雨。", ["今日は晴れです。", "明日は雨。"]),
        ("", []),
        ("  \n ", []),
        ("no end", ["no end"]),
    ],
)
def test_sentences_are_the_same_however_the_text_comes(text: str, expected: list[str], size: int) -> None:
    assert cut(text, size) == expected


def test_a_sentence_is_there_as_soon_as_the_next_one_begins() -> None:
    sentences = Sentences()
    assert sentences.feed("It is sunny.") == []
    assert sentences.feed(" ") == ["It is sunny."]


def test_the_first_clause_of_a_long_first_sentence_does_not_wait_for_the_rest() -> None:
    sentences = Sentences()
    assert sentences.feed("Well, it is going to be quite sunny,") == []
    assert sentences.feed(" and") == ["Well, it is going to be quite sunny,"]
    assert sentences.feed(" warm. Tomorrow it will rain all day long, and") == ["and warm."]
    assert sentences.finish() == ["Tomorrow it will rain all day long, and"]


def test_a_sentence_without_an_end_is_cut_at_a_clause_or_a_word_or_anywhere() -> None:
    clauses = "a very long clause without any end, " * 20
    assert all(len(piece) <= LONGEST and piece.endswith(",") for piece in cut(clauses, 7))
    words = "word " * 100
    assert all(len(piece) <= LONGEST and piece.endswith("word") for piece in cut(words, 7))
    assert "".join(cut("x" * 1_000, 7)) == "x" * 1_000
    assert max(map(len, cut("x" * 1_000, 7))) <= LONGEST


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**Very** `good`, _isn't_ it?", "Very good, isn't it?"),
        ("- one", "one"),
        ("See [the page](https://example.com).", "See the page."),
        ("## Title", "Title"),
        ("---", ""),
        ("👍 !", ""),
        ("5 - 3 = 2", "5 - 3 = 2"),
    ],
)
def test_marks_for_the_eye_are_not_spoken(text: str, expected: str) -> None:
    assert speakable(text) == expected


def b64(samples: pcm.Samples) -> str:
    return base64.b64encode(pcm.to_bytes(samples)).decode()


def ears(**config: Any) -> Ears:
    one = Ears()
    one.configure(config)
    return one


def heard(one: Ears, samples: pcm.Samples, step: int = 480) -> list[Began | Ended]:
    return [event for start in range(0, len(samples), step) for event in one.feed(b64(samples[start : start + step]))]


QUESTION = "How is the weather in Paris today?"


@needs_espeak
def test_a_turn_is_what_was_spoken_with_its_padding() -> None:
    speech = spoken(QUESTION, "en-us+m3", 24_000)
    lull = noise(2, 24_000, amplitude=0.001)
    one = ears()
    began, ended = heard(one, np.concatenate([lull, speech, lull]))
    assert isinstance(began, Began)
    assert isinstance(ended, Ended)
    assert began.at_ms == pytest.approx(1_700, abs=200)
    length_ms = len(ended.samples) * 1000 // 16_000
    assert length_ms == ended.at_ms - began.at_ms
    assert pcm.duration_ms(speech, 24_000) < length_ms < pcm.duration_ms(speech, 24_000) + 1_000
    assert one.position_ms == pytest.approx(4_000 + pcm.duration_ms(speech, 24_000), abs=30)


def test_silence_is_not_kept() -> None:
    one = ears()
    heard(one, pcm.silence(60_000, 24_000), step=24_000)
    assert one._length < 16_000 * 2


@needs_espeak
def test_a_turn_without_an_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade_ears, "MOST_TURN_S", 2)
    events = heard(ears(), np.tile(spoken(QUESTION, "en-us+m3", 24_000), 3))
    turns = [event for event in events if isinstance(event, Ended)]
    assert turns
    assert all(len(turn.samples) <= 2.2 * 16_000 for turn in turns)


def test_without_detection_a_turn_is_all_that_was_appended_since_the_last() -> None:
    one = ears(turn_detection=None)
    assert heard(one, tone(440, 0.5, 24_000)) == []
    assert len(one.commit()) == pytest.approx(8_000, abs=200)
    with pytest.raises(BadRequest, match="at least 100 ms"):
        one.commit()
    heard(one, tone(440, 0.5, 24_000))
    one.clear()
    heard(one, tone(880, 0.25, 24_000))
    samples = one.commit()
    assert len(samples) == pytest.approx(4_000, abs=200)
    assert pitch_hz(samples[500:-500], 16_000) == pytest.approx(880, abs=10)


def test_too_much_that_is_not_committed_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade_ears, "MOST_WAITING_S", 1)
    one = ears(turn_detection=None)
    with pytest.raises(BadRequest, match="not committed"):
        heard(one, tone(440, 2, 24_000))


@pytest.mark.parametrize("audio", ["A", "AAA", base64.b64encode(b"odd").decode()])
def test_what_is_no_audio_is_refused(audio: str) -> None:
    with pytest.raises(BadRequest) as caught:
        ears().feed(audio)
    assert caught.value.param == "audio"


@needs_espeak
def test_the_kinds_of_detection_wait_for_their_silences() -> None:
    samples = np.concatenate([spoken(QUESTION, "en-us+m3", 24_000), noise(3, 24_000, amplitude=0.001)])
    ends = []
    for detection in (
        {"type": "server_vad", "silence_duration_ms": 300},
        {"type": "semantic_vad", "eagerness": "high"},
        {"type": "server_vad"},
        {"type": "semantic_vad"},
        {"type": "semantic_vad", "eagerness": "low"},
    ):
        events = heard(ears(turn_detection=detection), samples)
        ends.append(events[-1].at_ms)
    assert ends == sorted(ends)
    assert len(set(ends)) == len(ends)


def test_another_format_begins_anew() -> None:
    one = ears(turn_detection=None)
    one.configure({"turn_detection": None, "format": {"type": "audio/pcmu"}})
    one.feed(base64.b64encode(pcm.samples_to_mu_law(tone(440, 0.5, 8_000))).decode())
    assert pitch_hz(one.commit()[500:-500], 16_000) == pytest.approx(440, abs=10)


def message(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(parts)}


def said(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
OTHER = {"type": "function_call", "call_id": "c2", "name": "feel", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "rain"}


def test_items_become_messages_with_calls_and_their_results_together() -> None:
    items = [message("user", said("Hi"), said("there")), CALL, {**OTHER}, RESULT, {**RESULT, "call_id": "c2"}]
    assert messages_of(items) == [
        {"role": "user", "content": "Hi\nthere"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                {"id": "c2", "type": "function", "function": {"name": "feel", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "tool", "tool_call_id": "c2", "content": "rain"},
    ]


def test_a_call_without_its_result_is_left_out_and_so_is_a_result_without_its_call() -> None:
    assert messages_of([OTHER, RESULT, message("user", said("Hi"))]) == [{"role": "user", "content": "Hi"}]


def test_a_result_that_came_late_is_told_with_its_call_and_calls_after_it_by_themselves() -> None:
    items = [CALL, message("user", said("Stop!")), RESULT, OTHER, {**RESULT, "call_id": "c2"}]
    messages = messages_of(items)
    assert [each["role"] for each in messages] == ["assistant", "tool", "user", "assistant", "tool"]
    assert [messages[at]["tool_call_id"] for at in (1, 4)] == ["c1", "c2"]


def test_what_was_not_heard_is_no_message() -> None:
    assert messages_of([message("user"), message("assistant"), message("user", said("Hi"))]) == [
        {"role": "user", "content": "Hi"}
    ]


def test_pictures_go_along() -> None:
    url = "data:image/png;base64,AA=="
    picture = {"type": "input_image", "image_url": url, "detail": "low"}
    (told,) = messages_of([message("user", said("What is this?"), picture)])
    assert told["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
    ]


def test_the_configuration_of_a_session_becomes_that_of_a_chat() -> None:
    tool = {"type": "function", "name": "look", "parameters": {"type": "object"}}
    config = {"instructions": "Be brief.", "tools": [tool], "parallel_tool_calls": False, "max_output_tokens": 50}
    body = chat_of("m", config | {"tool_choice": {"type": "function", "name": "look"}}, [], is_spoken=True)
    assert body["messages"] == [{"role": "system", "content": f"Be brief.\n\n{SPOKEN}"}]
    assert body["tools"] == [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert (body["parallel_tool_calls"], body["max_tokens"]) == (False, 50)
    plain = chat_of("m", {"max_output_tokens": "inf"}, [], is_spoken=False)
    assert plain == {"model": "m", "messages": [], "stream_options": {"include_usage": True}}


def test_what_was_heard_of_an_answer_that_was_cut() -> None:
    item = Item(
        "i", 0, "It is sunny. Take a big hat! And then", [Said("It is sunny.", 1_000), Said(" Take a big hat!", 2_000)]
    )
    assert heard_until(item, 0) == ""
    assert heard_until(item, 340) == "It"
    assert heard_until(item, 1_000) == "It is sunny."
    assert heard_until(item, 1_500) == "It is sunny. Take a"
    assert heard_until(item, 2_400) == "It is sunny. Take a big hat! And"
    assert heard_until(item, 60_000) == item.text
