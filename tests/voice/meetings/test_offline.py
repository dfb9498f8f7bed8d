"""A meeting of two voices with no key and no network: who said what, told by this machine alone."""

import numpy as np
import pytest
import srt
import webvtt

from komilion.common.audio import pcm
from tests.fakes import sounds
from tests.stand import Gateway
from tests.voice.meetings.conftest import Meetings
from tests.voice.speech.test_offline import local_models
from tests.voice.spoken import MAN, WOMAN, needs_espeak, spoken

__all__ = ["local_models"]  # the fixture, of this file too

RATE_HZ = 16_000
TALK = (
    (WOMAN, "Good morning Peter. I think that we need more money for travel."),
    (MAN, "Good morning Anna. Yes, we need to decide that today."),
    (WOMAN, "Very good. Who will tell the team about it?"),
    (MAN, "I will tell the team on Monday morning."),
)


def meeting() -> bytes:
    pause = pcm.silence(600, RATE_HZ)
    said = [part for voice, text in TALK for part in (spoken(text, voice, RATE_HZ), pause)]
    return sounds.wav(pcm.to_bytes(np.concatenate(said)), rate_hz=RATE_HZ)


@pytest.mark.slow
@needs_espeak
@pytest.mark.timeout(300)
def test_two_voices_are_understood_and_told_apart(meetings: Meetings, gateway: Gateway, local_models: str):
    gateway.manage("provider", "add", "here", "--base-url", local_models, "--api-key", "local")
    ear = meetings.stand.add_model("whisper-tiny.en", provider="here", capabilities="word_timestamps")
    bob = gateway.tenant()
    answer = meetings.send(bob, meeting(), model=ear)
    assert answer.status == 200, answer.body
    body = answer.json
    assert (body["speakerSource"], len(body["speakers"])) == ("heuristic", 2)
    by_speaker = {
        number: " ".join(said["text"] for said in body["utterances"] if said["speaker"] == number) for number in (0, 1)
    }
    assert "money for travel" in by_speaker[0]
    assert "tell the team about it" in by_speaker[0]
    assert "decide that today" in by_speaker[1]
    assert "Monday morning" in by_speaker[1]
    read_srt = list(srt.parse(meetings.send(bob, meeting(), model=ear, format="srt").body.decode()))
    read_vtt = webvtt.from_string(meetings.send(bob, meeting(), model=ear, format="vtt").body.decode()).captions
    assert len(read_srt) == len(read_vtt) > 3
    starts = [srt.timedelta_to_srt_timestamp(cue.start).replace(",", ".") for cue in read_srt]
    assert starts == [cue.start for cue in read_vtt]
    assert {cue.voice for cue in read_vtt} == {"Speaker 0", "Speaker 1"}
