"""Audio without a container: what the query says of it is what it is, and what is charged."""

import pytest

from komilion.common.audio import pcm
from komilion.common.audio.decode import decode
from tests.fakes import sounds
from tests.fakes.speech_server import SpeechReply
from tests.routing.books import only_row, usage_rows
from tests.stand import Tenant
from tests.voice.speech.stand import MS_PRICE_NANO, SpeechStand, charge_of
from voice.speech.raw import in_wav, raw_form

STT = "/api/deepgram/stt"
RATE_HZ = 8_000
SAMPLES = pcm.from_bytes(sounds.tone(1.5, rate_hz=RATE_HZ))
FORMS = {
    "linear16": pcm.to_bytes(SAMPLES),
    "linear32": pcm.to_floats(SAMPLES).astype("<f4").tobytes(),
    "mulaw": pcm.samples_to_mu_law(SAMPLES),
    "alaw": pcm.samples_to_a_law(SAMPLES),
}


@pytest.fixture(scope="module")
def models(stand: SpeechStand) -> dict[str, str]:
    """One at each provider, that says nothing of a length."""
    heard = SpeechReply(seconds=1.5)
    return {
        "deepgram": stand.add_model(stand.script(stand.deepgram, "nova-3", heard), capabilities="word_timestamps"),
        "openai": stand.add_model(stand.script(stand.openai, "whisper-1", heard), capabilities="word_timestamps"),
    }


@pytest.mark.parametrize("encoding", FORMS)
def test_it_sounds_as_it_did_once_it_is_a_file(encoding: str) -> None:
    form = raw_form({"encoding": encoding, "sample_rate": str(RATE_HZ)})
    assert form is not None
    heard = decode(in_wav(FORMS[encoding], form), rate_hz=RATE_HZ)
    assert len(heard) == len(SAMPLES)
    assert abs(pcm.level_dbfs(heard) - pcm.level_dbfs(SAMPLES)) < 0.1


@pytest.mark.parametrize("provider", ["deepgram", "openai"])
@pytest.mark.parametrize("encoding", FORMS)
def test_every_provider_hears_it_and_it_is_charged_by_its_bytes(
    stand: SpeechStand, models: dict[str, str], encoding: str, provider: str
) -> None:
    bob = stand.gateway.tenant()
    path = f"{STT}?model={models[provider]}&encoding={encoding}&sample_rate={RATE_HZ}"
    answer = stand.post(path, bob, FORMS[encoding], "application/octet-stream")
    assert answer.status == 200, answer.body
    assert only_row(bob).charge_nano == charge_of(1_500 * MS_PRICE_NANO)
    server = stand.deepgram if provider == "deepgram" else stand.openai
    call = server.calls[-1]
    assert call.audio[:4] == b"RIFF"
    assert not call.parameters.keys() & {"encoding", "sample_rate", "channels"}


def test_it_is_held_for_by_its_bytes(stand: SpeechStand, models: dict[str, str]) -> None:
    """A wallet that covers half of it is refused before a byte goes out, and one that covers all is not."""
    path = f"{STT}?model={models['deepgram']}&encoding=mulaw&sample_rate={RATE_HZ}"
    poor = stand.gateway.tenant(credit="0.000125")  # pays for one second
    assert stand.post(path, poor, FORMS["mulaw"], "audio/basic").status == 402
    assert stand.post(path, poor, FORMS["mulaw"][:RATE_HZ], "audio/basic").status == 200


def test_channels_share_the_bytes(stand: SpeechStand, models: dict[str, str]) -> None:
    bob = stand.gateway.tenant()
    upstream = stand.script(stand.deepgram, "nova-3", SpeechReply())  # measures the file
    model = stand.add_model(upstream, capabilities="word_timestamps")
    path = f"{STT}?model={model}&encoding=linear16&sample_rate={RATE_HZ}&channels=2"
    assert stand.post(path, bob, FORMS["linear16"], "audio/l16").status == 200
    assert only_row(bob).usage == {"audio_ms": 750}


def test_a_file_is_a_file_whatever_is_said_of_it(stand: SpeechStand, alice: Tenant) -> None:
    upstream = stand.script(stand.deepgram, "nova-3", SpeechReply())
    model = stand.add_model(upstream, capabilities="word_timestamps")
    talk = sounds.wav(sounds.tone(1.0))
    path = f"{STT}?model={model}&encoding=linear16&sample_rate=8000"
    assert stand.post(path, alice, talk, "audio/wav").status == 200
    assert stand.deepgram.calls_of(upstream)[-1].audio == talk


def test_what_comes_in_a_file_anyway_says_all_itself(stand: SpeechStand, models: dict[str, str], alice: Tenant) -> None:
    flac = sounds.encoded(sounds.tone(1.5), "flac")
    path = f"{STT}?model={models['deepgram']}&encoding=flac&sample_rate=24000"
    assert stand.post(path, alice, flac, "audio/flac").status == 200
    assert stand.deepgram.calls[-1].audio == flac


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("encoding=g729&sample_rate=8000", "encoding"),
        ("encoding=x", "encoding"),
        ("encoding=mulaw", "sample_rate"),
        ("encoding=mulaw&sample_rate=0", "sample_rate"),
        ("encoding=mulaw&sample_rate=1e4", "sample_rate"),
        ("encoding=mulaw&sample_rate=99999999999999", "sample_rate"),
        ("encoding=mulaw&sample_rate=8000&channels=0", "channels"),
        ("encoding=mulaw&sample_rate=8000&channels=17", "channels"),
        ("encoding=mulaw&sample_rate=8000&channels=-1", "channels"),
    ],
)
def test_what_is_not_enough_to_tell_is_named(stand: SpeechStand, query: str, param: str) -> None:
    bob = stand.gateway.tenant()
    answer = stand.post(f"{STT}?{query}", bob, FORMS["mulaw"], "application/octet-stream")
    assert (answer.status, answer.json["error"]["param"]) == (400, param)
    assert usage_rows(bob) == []


def test_nothing_at_all_is_no_audio(stand: SpeechStand, alice: Tenant, models: dict[str, str]) -> None:
    path = f"{STT}?model={models['deepgram']}&encoding=mulaw&sample_rate={RATE_HZ}"
    answer = stand.post(path, alice, b"", "application/octet-stream")
    assert (answer.status, answer.json["error"]["reason"]) == (400, "empty_audio")
