"""Transcript -> captions: SubRip (SRT) and WebVTT.

A cue begins with each utterance, where the speaker changes, and after so many words; it lasts from its first word to
its last. Times are whole milliseconds, rounded half up, and never run backwards. Sources: the SubRip format as players
read it, and W3C's WebVTT.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from itertools import groupby

from routing.providers.speech import Transcript, Utterance, Word

WORDS_PER_CUE = 8
SRT_TYPE = "application/x-subrip; charset=utf-8"
VTT_TYPE = "text/vtt; charset=utf-8"

ARROW = re.compile("-{2,}>")  # would end a cue's text


@dataclass(frozen=True, slots=True)
class Cue:
    """One caption; `text` is one line, neither escaped nor empty."""

    start_ms: int
    end_ms: int  # after the start
    text: str
    speaker: int | None = None


def cues_of(transcript: Transcript, words_per_cue: int = WORDS_PER_CUE) -> list[Cue]:
    """The captions in the order of their start; none where nothing was said."""
    cues: list[Cue] = []
    latest_ms = 0
    for start_s, end_s, text, speaker in _pieces(transcript, words_per_cue):
        shown = one_line(text)
        if shown:
            latest_ms = max(latest_ms, _milliseconds(start_s))
            cues.append(Cue(latest_ms, max(latest_ms + 1, _milliseconds(end_s)), shown, speaker))
    return cues


def srt(transcript: Transcript, words_per_cue: int = WORDS_PER_CUE) -> str:
    """SubRip; a line names the speaker where it is another one than before."""
    blocks = []
    before = None
    for number, cue in enumerate(cues_of(transcript, words_per_cue), start=1):
        lines = [str(number), f"{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}"]
        if cue.speaker is not None and cue.speaker != before:
            lines.append(f"[{_plain(speaker_name(transcript, cue.speaker, 'speaker'))}]")
        before = cue.speaker
        blocks.append("\n".join([*lines, _plain(cue.text), ""]))
    return "\n".join(blocks)


def vtt(transcript: Transcript, words_per_cue: int = WORDS_PER_CUE) -> str:
    """WebVTT; each cue has the voice that says it."""
    blocks = ["WEBVTT\n"]
    for cue in cues_of(transcript, words_per_cue):
        voice = ""
        if cue.speaker is not None:
            voice = f"<v {_escaped(speaker_name(transcript, cue.speaker, 'Speaker'))}>"
        times = f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}"
        blocks.append(f"{times}\n{voice}{_escaped(cue.text)}\n")
    if transcript.speakers == "guessed":
        blocks.insert(1, "NOTE Who speaks is guessed from the sound of the voices.\n")
    return "\n".join(blocks)


def speaker_name(transcript: Transcript, speaker: int, word: str) -> str:
    """The speaker's name, else the word with its number."""
    names = transcript.speaker_names
    return (one_line(names[speaker]) if speaker < len(names) else "") or f"{word} {speaker}"


def one_line(text: str) -> str:
    """The text with single blanks between its words and without control characters."""
    return "".join(char for char in " ".join(text.split()) if char >= " " and char != "\x7f")


type _Piece = tuple[float, float, str, int | None]  # start, end, text, speaker


def _pieces(transcript: Transcript, words_per_cue: int) -> Iterator[_Piece]:
    for utterance in sorted(transcript.utterances, key=lambda said: said.start_s):
        words = [word for word in utterance.words if one_line(word.shown)]
        if not words:
            yield utterance.start_s, utterance.end_s, utterance.text, utterance.speaker
        for group in _groups(words, utterance, words_per_cue):
            text = " ".join(word.shown for word in group)
            yield group[0].start_s, group[-1].end_s, text, _speaker(group[0], utterance)
    if not transcript.utterances:
        yield 0.0, transcript.duration_s, transcript.text, None


def _groups(words: Sequence[Word], utterance: Utterance, most: int) -> Iterator[Sequence[Word]]:
    for _, run in groupby(words, key=lambda word: _speaker(word, utterance)):
        said = list(run)
        yield from (said[start : start + most] for start in range(0, len(said), most))


def _speaker(word: Word, utterance: Utterance) -> int | None:
    return utterance.speaker if word.speaker is None else word.speaker


def _milliseconds(seconds: float) -> int:
    return int((Decimal(repr(seconds)) * 1000).quantize(Decimal(1), ROUND_HALF_UP))


def _clock(milliseconds: int, point: str) -> str:
    """`00:01:00,000`."""
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{rest:03d}"


def _plain(text: str) -> str:
    return ARROW.sub("->", text)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
