"""Deepgram's dialect of speech: `POST /listen` for files and `POST /speak`, behind a base that ends in `/v1`.

Protocol: Deepgram's API reference (`Authorization: Token`, everything but the audio or the text in the query). Its
errors come as {"err_code", "err_msg", "request_id"} or as {"category", "message", "details", "request_id"}.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

import orjson

from komilion.common.errors import BadRequest, KomilionError, ModelNotFound, PayloadTooLarge, ProviderError
from komilion.common.usage import MAX_UNITS, Usage
from routing.providers.base import Target, UpstreamRequest
from routing.providers.openai_stream import parse
from routing.providers.speech import (
    PCM_RATE_HZ,
    AudioFormat,
    Heard,
    Listening,
    Speaking,
    Transcript,
    Upload,
    Utterance,
    Word,
    confidence_of,
    milliseconds,
    seconds_of,
    speaker_of,
    speech_failure,
    text_of,
)

LONGEST_TEXT_CHARACTERS = 2_000
LARGEST_AUDIO_BYTES = 2 * 2**30

# What a caller may say in the query of a transcription, beside the model.
LISTEN_PARAMETERS = frozenset(
    {
        *("language", "detect_language", "language_hint", "punctuate", "smart_format", "paragraphs", "utterances"),
        *("utt_split", "diarize", "diarize_model", "multichannel", "numerals", "measurements", "filler_words"),
        *("profanity_filter", "redact", "replace", "search", "keyterm", "keywords", "dictation", "summarize"),
        *("topics", "intents", "sentiment", "detect_entities", "mip_opt_out", "version", "extra"),
    }
)
# What is billed beside the hearing. Names of speakers, formats and captions are not.
ADD_ONS = ("redact", "keyterm", "summarize", "topics", "intents", "sentiment", "detect_entities")
OFF = frozenset({"", "false"})
# We ask for text and times that can be shown, where the caller does not say what it wants.
PLAIN_QUERY = {"smart_format": "true", "punctuate": "true", "utterances": "true"}

SPEAK_QUERY: Mapping[AudioFormat, Mapping[str, str]] = {
    "mp3": {"encoding": "mp3"},
    "wav": {"encoding": "linear16", "container": "wav", "sample_rate": str(PCM_RATE_HZ)},
    "opus": {"encoding": "opus", "container": "ogg"},
    "flac": {"encoding": "flac"},
    "aac": {"encoding": "aac"},
    "pcm": {"encoding": "linear16", "container": "none", "sample_rate": str(PCM_RATE_HZ)},
}
# OpenAI's voices, which its clients must name, by the voices that both generations of Aura have.
VOICES = {
    "alloy": "asteria",
    "ash": "orion",
    "ballad": "arcas",
    "coral": "luna",
    "echo": "orpheus",
    "fable": "zeus",
    "nova": "athena",
    "onyx": "zeus",
    "sage": "hera",
    "shimmer": "luna",
    "verse": "arcas",
    "marin": "asteria",
    "cedar": "orion",
}
# All voices of the first generation (https://developers.deepgram.com/docs/tts-models); the second still gets new ones.
AURA_1 = frozenset(
    ("asteria", "luna", "stella", "athena", "hera", "orion", "arcas", "perseus", "angus", "orpheus", "helios", "zeus")
)
VOICE = re.compile(r"[a-z]{2,24}(?:-[a-z]{2})?")


class Deepgram:
    """The `SpeechDialect` of Deepgram."""

    largest_audio_bytes = LARGEST_AUDIO_BYTES

    def longest_text(self, target: Target) -> int:
        """The same for every voice."""
        return LONGEST_TEXT_CHARACTERS

    def transcription_request(self, options: Listening, target: Target, content_type: str) -> Upload:
        """The audio as it is; all else in the query."""
        if options.task == "translate":
            raise BadRequest("This model transcribes, and does not translate.", param="model")
        query: list[tuple[str, str]] = [("model", target.upstream_id)]
        dropped: list[str] = []
        if options.query is not None:
            query += [(name, value) for name, values in options.query.items() for value in values]
        else:
            query += PLAIN_QUERY.items()
            query.append(("language", options.language) if options.language else ("detect_language", "true"))
            if options.with_speakers:
                query.append(("diarize", "true"))
            query += [(_keyword_parameter(target), keyword) for keyword in options.keywords]
            dropped = [name for name in ("prompt", "temperature") if getattr(options, name) not in ("", None)]
        headers = {**_headers(target), "Content-Type": content_type}
        return Upload(f"{target.base_url}/listen?{urlencode(query)}", headers, dropped=tuple(dropped))

    def add_ons(self, options: Listening, target: Target) -> tuple[str, ...]:
        """Those of `ADD_ONS` that are asked for; each costs once, however often it is named."""
        asked = options.query
        if asked is None:
            asked = {_keyword_parameter(target): options.keywords}
        return tuple(name for name in ADD_ONS if not OFF.issuperset(asked.get(name, ())))

    def transcription_answer(self, body: bytes) -> Heard:
        """Read `results`; the duration of `metadata` is billed for each channel."""
        payload = parse(body)
        if type(payload) is not dict:
            raise ProviderError("The provider's answer could not be read.")
        results = payload.get("results")
        channels = list(_objects(results.get("channels"))) if type(results) is dict else []
        if type(results) is not dict or not channels:
            raise ProviderError("The provider's answer holds no transcription.")
        metadata = payload.get("metadata")
        duration = metadata.get("duration") if type(metadata) is dict else None
        audio_ms = milliseconds(duration)
        billed_ms = audio_ms * len(channels) if audio_ms is not None else MAX_UNITS + 1
        usage = Usage(audio_ms=billed_ms) if billed_ms <= MAX_UNITS else None
        return Heard(_transcript(results, channels, seconds_of(duration)), usage, payload)

    def transcription_stream(self) -> None:
        """Files are answered in one piece."""
        return

    def speech_request(self, options: Speaking, target: Target) -> UpstreamRequest:
        """The text as JSON; the model is a voice of the generation that `upstream_id` names."""
        query = {"model": voice_of(options.voice, target.upstream_id), **SPEAK_QUERY[options.format]}
        if options.speed != 1.0:
            query["speed"] = f"{options.speed:g}"
        headers = {**_headers(target), "Content-Type": "application/json"}
        body = orjson.dumps({"text": options.text})
        return UpstreamRequest(f"{target.base_url}/speak?{urlencode(query)}", headers, body)

    def speech_stream(self) -> None:
        """The body is the audio."""
        return

    def characters(self, headers: Mapping[str, str], text: str) -> int:
        """`dg-char-count`, where it is no more than the text has, which is held for."""
        told = headers.get("dg-char-count", "")
        if told.isascii() and told.isdigit() and len(told) < 10 and int(told) <= len(text):
            return int(told)
        return len(text)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> KomilionError:
        """Both shapes of its errors, read as `failures` reads all others."""
        payload = parse(body)
        if type(payload) is not dict:
            return speech_failure(status, headers, body)
        code = text_of(payload.get("err_code")) or text_of(payload.get("category"))
        message = text_of(payload.get("err_msg")) or text_of(payload.get("message"))
        if details := text_of(payload.get("details")):
            message = f"{message} {details}"
        message = message.removeprefix("Bad Request: ")
        if status == 403 and "model" in message:
            return ModelNotFound("The provider does not let us call this model.")
        if status == 413:
            return PayloadTooLarge("The request is too large for the provider.")
        said = orjson.dumps({"error": {"code": code, "message": message}})
        return speech_failure(status, headers, said)


def voice_of(name: str, generation: str) -> str:
    """`thalia` -> `aura-2-thalia-en`, for generation `aura-2`. Raises `BadRequest` for what is no name of a voice."""
    short = name.lower().removeprefix(f"{generation}-")
    short = VOICES.get(short, short)
    is_known = generation != "aura" or short.removesuffix("-en") in AURA_1
    if not VOICE.fullmatch(short) or not is_known:
        raise BadRequest(f"This model has no voice {name[:40]!r}.", param="voice")
    return f"{generation}-{short if '-' in short else f'{short}-en'}"


def _keyword_parameter(target: Target) -> str:
    return "keyterm" if "nova-3" in target.upstream_id else "keywords"


def _headers(target: Target) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity"}
    if target.api_key:
        headers["Authorization"] = "Token " + target.api_key
    return headers


def _transcript(results: dict[str, Any], channels: list[dict[str, Any]], duration_s: float) -> Transcript:
    best = [_best(channel) for channel in channels]
    utterances = _utterances(results.get("utterances"))
    if not utterances:
        runs = [run for number, said in enumerate(best) for run in _runs(said, number)]
        utterances = tuple(sorted(runs, key=lambda run: run.start_s))
    return Transcript(
        text="\n".join(text for said in best if (text := text_of(said.get("transcript")))),
        language=_language(channels[0], best[0]),
        duration_s=duration_s,
        utterances=utterances,
        speakers="heard" if any(said.speaker is not None for said in utterances) else "none",
    )


def _best(channel: dict[str, Any]) -> dict[str, Any]:
    """The first alternative of a channel."""
    return next(_objects(channel.get("alternatives")), {})


def _language(channel: dict[str, Any], said: dict[str, Any]) -> str:
    """What was detected, or heard most (`languages`)."""
    languages = said.get("languages")
    heard = text_of(languages[0]) if type(languages) is list and languages else ""
    return text_of(channel.get("detected_language")) or heard


def _utterances(value: object) -> tuple[Utterance, ...]:
    return tuple(
        Utterance(
            text=text_of(said.get("transcript")),
            start_s=seconds_of(said.get("start")),
            end_s=seconds_of(said.get("end")),
            confidence=confidence_of(said.get("confidence")),
            speaker=speaker_of(said.get("speaker")),
            words=tuple(_words(said.get("words"))),
            channel=speaker_of(said.get("channel")) or 0,
        )
        for said in _objects(value)
    )


def _runs(said: dict[str, Any], channel: int) -> Iterable[Utterance]:
    """The words of a channel, cut where the speaker changes: without `utterances` nothing else tells them apart."""
    confidence = confidence_of(said.get("confidence"))
    for speaker, group in groupby(_words(said.get("words")), key=lambda word: word.speaker):
        words = tuple(group)
        text = " ".join(word.shown for word in words)
        yield Utterance(text, words[0].start_s, words[-1].end_s, confidence, speaker, words, channel)


def _words(value: object) -> Iterable[Word]:
    for word in _objects(value):
        yield Word(
            text=text_of(word.get("word")),
            start_s=seconds_of(word.get("start")),
            end_s=seconds_of(word.get("end")),
            punctuated=text_of(word.get("punctuated_word")),
            confidence=confidence_of(word.get("confidence")),
            speaker=speaker_of(word.get("speaker")),
        )


def _objects(value: object) -> Iterator[dict[str, Any]]:
    return (entry for entry in value if type(entry) is dict) if type(value) is list else iter(())
