"""What a small wallet gets done for it before it is refused: no more than it could pay for."""

import threading

from komilion.common.audio import decode
from tests.fakes import sounds
from tests.fakes.speech_server import SpeechReply
from tests.routing.books import usage_rows
from tests.voice.speech.stand import SpeechStand, form

TRANSCRIBE = "/v1/audio/transcriptions"
ONE_S_USD = "0.000125"


def test_a_long_recording_is_decoded_only_as_far_as_it_is_paid_for(stand: SpeechStand) -> None:
    model = stand.add_model(stand.script(stand.openai, "whisper-1", SpeechReply()))
    poor = stand.gateway.tenant(credit=ONE_S_USD)
    hour = sounds.encoded(bytes(2 * 3_600 * sounds.RATE_HZ), "flac")
    answer = stand.post(TRANSCRIBE, poor, *form({"model": model}, {"file": ("hour.flac", hour)}))
    assert (answer.status, answer.json["error"]["reason"]) == (402, "insufficient_balance")
    assert "longer than 61 seconds" in answer.json["error"]["message"]
    assert usage_rows(poor) == []


def test_nothing_is_fetched_for_who_cannot_pay_for_a_second(stand: SpeechStand) -> None:
    model = stand.add_model(stand.script(stand.deepgram, "nova-3", SpeechReply()), capabilities="word_timestamps")
    poor = stand.gateway.tenant(credit="0.00")
    answer = stand.post(f"/api/deepgram/stt?model={model}", poor, {"url": "https://nobody.invalid/talk.wav"})
    assert (answer.status, answer.json["error"]["reason"]) == (402, "insufficient_balance")


def test_a_file_whose_sender_is_gone_is_not_decoded_to_its_end() -> None:
    from voice.speech.lengths import REQUEST_LIMITS, _decoded

    gone = threading.Event()
    gone.set()
    hour = sounds.encoded(bytes(2 * 3_600 * sounds.RATE_HZ), "flac")
    assert _decoded(hour, REQUEST_LIMITS, gone).length_ms < 60_000
    assert decode.READ_BYTES < 2 * 60 * decode.SPEECH_RATE_HZ
