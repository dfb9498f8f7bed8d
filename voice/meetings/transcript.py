"""Parts of a meeting put together, who said what, and how it is written. Pure."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import msgspec

from routing.providers.speech import Transcript, Utterance, Word
from voice.audio.diarize import Speakers
from voice.meetings.recording import Span
from voice.speech.captions import SRT_TYPE, VTT_TYPE, speaker_name, srt, vtt

TEXT_TYPE = "text/plain; charset=utf-8"
SOURCES = {"heard": "provider", "guessed": "heuristic", "none": "none"}


def joined(parts: Sequence[tuple[Span, Transcript]]) -> Transcript:
    """The parts one after the other, their times counted from the beginning of the whole.

    A part without times becomes one utterance. Speakers of several parts are nobody's: each part counts its own.
    """
    said = [each for span, transcript in parts for each in _moved(transcript, span, is_alone=len(parts) == 1)]
    first = parts[0][1] if parts else Transcript("")
    language = next((transcript.language for _, transcript in parts if transcript.language), "")
    return Transcript(
        text=" ".join(filter(None, (transcript.text.strip() for _, transcript in parts))),
        language=language,
        duration_s=parts[-1][0].end_ms / 1_000 if parts else 0.0,
        utterances=tuple(said),
        speakers=first.speakers if len(parts) == 1 else "none",
        speaker_names=first.speaker_names if len(parts) == 1 else (),
    )


def _moved(transcript: Transcript, span: Span, *, is_alone: bool) -> Iterable[Utterance]:
    by_s = span.start_ms / 1_000
    if not transcript.utterances and transcript.text.strip():
        yield Utterance(transcript.text.strip(), by_s, span.end_ms / 1_000)
    for each in transcript.utterances:
        words = tuple(_at_its_time(word, by_s, is_alone=is_alone) for word in each.words)
        yield msgspec.structs.replace(_at_its_time(each, by_s, is_alone=is_alone), words=words)


def _at_its_time[T: (Utterance, Word)](said: T, by_s: float, *, is_alone: bool) -> T:
    speaker = said.speaker if is_alone else None
    return msgspec.structs.replace(said, start_s=_s(said.start_s + by_s), end_s=_s(said.end_s + by_s), speaker=speaker)


def _s(seconds: float) -> float:
    """Sums of seconds without the dust of binary fractions."""
    return round(seconds, 6)


def with_guessed_speakers(transcript: Transcript, speakers: Speakers) -> Transcript:
    """Each word's speaker by the sound of the voices; an utterance is split where another one goes on."""
    said = [part for each in transcript.utterances for part in _split(each, speakers)]
    return msgspec.structs.replace(transcript, utterances=tuple(said), speakers="guessed", speaker_names=())


def _split(said: Utterance, speakers: Speakers) -> Iterable[Utterance]:
    if not said.words:
        yield msgspec.structs.replace(said, speaker=_at(speakers, said.start_s, said.end_s))
        return
    named = [(_at(speakers, word.start_s, word.end_s), word) for word in said.words]
    groups = [(speaker, [word for _, word in group]) for speaker, group in groupby(named, key=lambda pair: pair[0])]
    if len(groups) == 1:
        yield msgspec.structs.replace(said, speaker=groups[0][0])
        return
    for speaker, words in groups:
        yield Utterance(
            text=" ".join(word.shown for word in words),
            start_s=words[0].start_s,
            end_s=words[-1].end_s,
            confidence=_mean(words),
            speaker=speaker,
            words=tuple(words),
            channel=said.channel,
        )


def _at(speakers: Speakers, start_s: float, end_s: float) -> int | None:
    return speakers.at(round(start_s * 1_000), round(end_s * 1_000))


def _mean(words: Sequence[Word]) -> float | None:
    known = [word.confidence for word in words if word.confidence is not None]
    return round(sum(known) / len(known), 6) if known else None


def without_speakers(transcript: Transcript) -> Transcript:
    """Nobody asked who speaks."""
    said = tuple(
        msgspec.structs.replace(
            each, speaker=None, words=tuple(msgspec.structs.replace(word, speaker=None) for word in each.words)
        )
        for each in transcript.utterances
    )
    return msgspec.structs.replace(transcript, utterances=said, speakers="none", speaker_names=())


def meeting_json(transcript: Transcript) -> dict[str, Any]:
    """`text`, `language`, `duration` in seconds, `utterances`, `speakers` and where these come from."""
    numbers = sorted({each.speaker for each in transcript.utterances if each.speaker is not None})
    return {
        "text": transcript.text,
        "language": transcript.language or None,
        "duration": transcript.duration_s,
        "speakerSource": SOURCES[transcript.speakers],
        "speakers": [_speaker_json(transcript, number) for number in numbers],
        "utterances": [_utterance_json(each) for each in transcript.utterances],
    }


def _speaker_json(transcript: Transcript, number: int) -> dict[str, Any]:
    spoken_s = sum(each.end_s - each.start_s for each in transcript.utterances if each.speaker == number)
    return {"id": number, "name": speaker_name(transcript, number, "Speaker"), "seconds": round(spoken_s, 3)}


def _utterance_json(said: Utterance) -> dict[str, Any]:
    return {
        "speaker": said.speaker,
        "start": said.start_s,
        "end": said.end_s,
        "confidence": said.confidence,
        "text": said.text,
        "words": [
            {"word": word.shown, "start": word.start_s, "end": word.end_s, "confidence": word.confidence}
            for word in said.words
        ],
    }


def lines_of(transcript: Transcript) -> list[str]:
    """`[00:01:05] Speaker 1: what was said`, for people and for models to read."""
    return [
        f"[{_clock(each.start_s)}] {_who(transcript, each)}{each.text.strip()}"
        for each in transcript.utterances
        if each.text.strip()
    ] or [transcript.text]


def _who(transcript: Transcript, said: Utterance) -> str:
    return "" if said.speaker is None else f"{speaker_name(transcript, said.speaker, 'Speaker')}: "


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"


def written(transcript: Transcript, form: str) -> tuple[str, str]:
    """The transcript as `text`, `srt` or `vtt`, and its media type."""
    if form == "srt":
        return srt(transcript), SRT_TYPE
    if form == "vtt":
        return vtt(transcript), VTT_TYPE
    return "\n".join(lines_of(transcript)) + "\n", TEXT_TYPE
