"""Transcript -> JSON: the shapes of OpenAI's transcriptions, and of Deepgram's for who asked in Deepgram's words.

Source: OpenAI's API reference (`json`, `verbose_json`, `diarized_json`) and Deepgram's (`results`). What was charged is
added by the caller.
"""

import math
import zlib
from collections.abc import Collection, Mapping
from typing import Any

from routing.providers.languages import name_of
from routing.providers.speech import Heard, Transcript, Utterance, Word
from voice.speech.captions import speaker_name

type Json = dict[str, Any]

# What OpenAI's own segments have beside their times, and only a model of the same make can tell.
SEGMENT_DETAILS = ("seek", "tokens", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
PUNCTUATION = '.,;:!?"()[]\u2026\u00bf\u00a1\u3002\uff0c\uff01\uff1f'
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def plain_json(heard: Heard) -> Json:
    """`json`: the text."""
    return {"text": heard.transcript.text}


def verbose_json(heard: Heard, granularities: Collection[str], task: str = "transcribe") -> Json:
    """`verbose_json`: with segments, words, or both, by `timestamp_granularities[]`."""
    transcript = heard.transcript
    shape: Json = {
        "task": task,
        "language": "english" if task == "translate" else name_of(transcript.language),
        "duration": transcript.duration_s,
        "text": transcript.text,
    }
    if "segment" in granularities:
        told = _told_segments(heard)
        shape["segments"] = [
            {**_segment(number, said), **(told[number] if told else {})}
            for number, said in enumerate(transcript.utterances)
        ]
    if "word" in granularities:
        words = [word for said in transcript.utterances for word in said.words]
        shape["words"] = [{"word": word.shown, "start": word.start_s, "end": word.end_s} for word in words]
    return shape


def diarized_json(transcript: Transcript) -> Json:
    """`diarized_json`: segments with who says them, `A`, `B` and so on where nobody knows a name."""
    return {
        "task": "transcribe",
        "duration": transcript.duration_s,
        "text": transcript.text,
        "segments": [
            {
                "type": "transcript.text.segment",
                "id": f"seg_{number}",
                "start": said.start_s,
                "end": said.end_s,
                "text": said.text,
                "speaker": _label(transcript, said.speaker or 0),
            }
            for number, said in enumerate(transcript.utterances)
        ],
    }


def usage_json(usage: Mapping[str, int]) -> Json:
    """`usage` of a transcription, of the buckets that were charged: a duration, or tokens."""
    if "audio_ms" in usage:
        return {"type": "duration", "seconds": usage["audio_ms"] / 1000}
    text, audio, output = (usage.get(name, 0) for name in ("input", "input_audio", "output"))
    return {
        "type": "tokens",
        "input_tokens": text + audio,
        "output_tokens": output,
        "total_tokens": text + audio + output,
        "input_token_details": {"audio_tokens": audio, "text_tokens": text},
    }


def deepgram_json(heard: Heard, request_id: str) -> Json:
    """The answer of `/v1/listen`: Deepgram's own where it comes from there, else the same shape."""
    told = heard.payload
    if isinstance(told.get("results"), dict):
        metadata = told.get("metadata")
        own = metadata if isinstance(metadata, dict) else {}
        return {**told, "metadata": {**own, "request_id": request_id}}
    transcript = heard.transcript
    words = [_deepgram_word(word, said) for said in transcript.utterances for word in said.words]
    channel: Json = {"alternatives": [{"transcript": transcript.text, "words": words}]}
    if transcript.language:
        channel["detected_language"] = transcript.language
    return {
        "metadata": {"request_id": request_id, "duration": transcript.duration_s, "channels": 1},
        "results": {
            "channels": [channel],
            "utterances": [
                {
                    **_present({"confidence": said.confidence, "speaker": said.speaker}),
                    "start": said.start_s,
                    "end": said.end_s,
                    "channel": said.channel,
                    "transcript": said.text,
                    "words": [_deepgram_word(word, said) for word in said.words],
                }
                for said in transcript.utterances
            ],
        },
    }


def _told_segments(heard: Heard) -> list[Json]:
    """What the provider itself tells of each segment; empty where it does not."""
    told = heard.payload.get("segments")
    if not isinstance(told, list) or len(told) != len(heard.transcript.utterances):
        return []
    return [
        {name: segment[name] for name in SEGMENT_DETAILS if name in segment} if isinstance(segment, dict) else {}
        for segment in told
    ]


def _segment(number: int, said: Utterance) -> Json:
    """A segment of a provider that counts no tokens: its confidence is all that is known of its probability."""
    text = said.text.encode()
    return {
        "id": number,
        "seek": 0,
        "start": said.start_s,
        "end": said.end_s,
        "text": said.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": math.log(said.confidence) if said.confidence else 0.0,
        "compression_ratio": round(len(text) / len(zlib.compress(text)), 3),
        "no_speech_prob": 0.0,
    }


def _label(transcript: Transcript, speaker: int) -> str:
    if speaker < len(transcript.speaker_names):
        return transcript.speaker_names[speaker]
    return LETTERS[speaker] if speaker < len(LETTERS) else speaker_name(transcript, speaker, "Speaker")


def _deepgram_word(word: Word, said: Utterance) -> Json:
    speaker = said.speaker if word.speaker is None else word.speaker
    known = _present({"confidence": word.confidence, "speaker": speaker})
    bare = word.text.strip(PUNCTUATION).lower() or word.text  # as Deepgram writes it
    return {"word": bare, "punctuated_word": word.shown, "start": word.start_s, "end": word.end_s, **known}


def _present(values: Mapping[str, Any]) -> Json:
    return {name: value for name, value in values.items() if value is not None}
