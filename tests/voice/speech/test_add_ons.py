"""What Deepgram finds beside the words costs extra: it is held for and charged, and refused where it has no price."""

import pytest

from tests.fakes import sounds
from tests.fakes.client import call
from tests.routing.books import only_row, usage_rows
from tests.stand import Tenant
from tests.voice.speech.stand import MS_PRICE_NANO, SpeechStand, charge_of

STT = "/api/deepgram/stt"
TALK = sounds.wav(sounds.tone(2.0))
ADD_ON_MS_PRICE_NANO = 40
ABLE = "word_timestamps,diarization"


@pytest.fixture(scope="module")
def nova(stand: SpeechStand) -> str:
    return stand.add_model("nova-3", capabilities=ABLE, add_on_price="0.00004")


@pytest.fixture(scope="module")
def plain(stand: SpeechStand) -> str:
    """A model whose add-ons have no price."""
    return stand.add_model("nova-3", capabilities=ABLE)


@pytest.mark.parametrize(
    ("query", "add_ons"),
    [
        ("diarize=true&smart_format=true&utterances=true&language=multi", 0),
        ("redact=pci&redact=ssn", 1),
        ("keyterm=Lund&keyterm=Malmo", 1),
        ("summarize=v2&topics=true&intents=true&sentiment=true&detect_entities=true", 5),
        ("summarize=false&topics=false&redact=", 0),
        ("topics=false&topics=true", 1),
    ],
)
def test_each_is_charged_by_the_length_of_the_audio(stand: SpeechStand, nova: str, query: str, add_ons: int) -> None:
    bob = stand.gateway.tenant()
    answer = stand.post(f"{STT}?model={nova}&{query}", bob, TALK, "audio/wav")
    assert answer.status == 200, answer.body
    row = only_row(bob)
    extra = {"add_on_ms": 2_000 * add_ons} if add_ons else {}
    assert (row.usage, row.usage_source) == ({"audio_ms": 2_000, **extra}, "provider")
    assert row.charge_nano == charge_of(2_000 * (MS_PRICE_NANO + add_ons * ADD_ON_MS_PRICE_NANO))


def test_it_is_charged_for_each_channel_that_is_heard_apart(stand: SpeechStand, nova: str) -> None:
    bob = stand.gateway.tenant()
    stereo = sounds.wav(sounds.tone(4.0), channels=2)
    stand.post(f"{STT}?model={nova}&multichannel=true&redact=pci", bob, stereo, "audio/wav")
    assert only_row(bob).usage == {"audio_ms": 4_000, "add_on_ms": 4_000}


def test_it_is_held_for(stand: SpeechStand, nova: str) -> None:
    """The wallet has what the words cost, and not what is to be done with them."""
    poor = stand.gateway.tenant(credit="0.0003")
    calls = len(stand.deepgram.calls)
    assert stand.post(f"{STT}?model={nova}&topics=true&redact=pci", poor, TALK, "audio/wav").status == 402
    assert len(stand.deepgram.calls) == calls
    assert stand.post(f"{STT}?model={nova}", poor, TALK, "audio/wav").status == 200


def test_keywords_of_openais_form_are_one_where_deepgram_charges_for_them(stand: SpeechStand, nova: str) -> None:
    bob = stand.gateway.tenant()
    stand.transcribe(bob, TALK, model=nova, **{"keywords[]": ["Lund", "Malmo"]})
    assert stand.deepgram.calls_of("nova-3")[-1].parameters["keyterm"] == ["Lund", "Malmo"]
    assert only_row(bob).usage == {"audio_ms": 2_000, "add_on_ms": 2_000}


@pytest.mark.parametrize(
    ("query", "param"), [("redact=pci", "redact"), ("sentiment=true&topics=true", "topics"), ("keyterm=x", "keyterm")]
)
def test_one_without_a_price_is_refused(stand: SpeechStand, plain: str, query: str, param: str) -> None:
    bob = stand.gateway.tenant()
    answer = stand.post(f"{STT}?model={plain}&{query}", bob, TALK, "audio/wav")
    assert (answer.status, answer.json["error"]["param"]) == (400, param)
    assert "no price" in answer.json["error"]["message"]
    assert usage_rows(bob) == []


def test_who_charges_nothing_for_it_needs_no_price(stand: SpeechStand, alice: Tenant) -> None:
    whisper = stand.add_model("whisper-1", capabilities=ABLE)
    answer = stand.post(f"{STT}?model={whisper}&redact=pci&keyterm=Lund", alice, TALK, "audio/wav")
    assert (answer.status, answer.headers["x-komilion-dropped"]) == (200, "redact")


def test_the_model_tells_its_price(stand: SpeechStand, nova: str) -> None:
    pricing = call(stand.gateway.url, f"/v1/models/{nova}").json["pricing"]
    assert pricing == {"audio_second": "0.000125", "audio_add_on_second": "0.00005"}


@pytest.mark.parametrize(("value", "status"), [("true", 400), ("false", 200)])
def test_privacy_at_another_price_is_not_to_be_had(stand: SpeechStand, nova: str, value: str, status: int) -> None:
    answer = stand.post(f"{STT}?model={nova}&mip_opt_out={value}", stand.gateway.tenant(), TALK, "audio/wav")
    assert answer.status == status
