"""The scripted Deepgram: `/v1/listen` and `/v1/speak`, and every refusal that the real one is known for.

A model answers once it has a script; `nova-3`, `nova-2`, `aura` and `aura-2` have one from the start.
"""

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes import sounds, wire
from tests.fakes.speech_server import Answer, Refused, SpeechCall, SpeechReply, SpeechServer

KEY = "dg-canary-0123456789"
REQUEST_ID = "0f7f0b3c-1111-4222-8333-944444444444"
LONGEST_TEXT = 2_000
SECONDS_A_CHARACTER = 0.03
JSON = {"Content-Type": "application/json"}

LISTEN = {
    *("model", "language", "detect_language", "language_hint", "punctuate", "smart_format", "paragraphs"),
    *("utterances", "utt_split", "diarize", "diarize_model", "multichannel", "numerals", "measurements"),
    *("filler_words", "profanity_filter", "redact", "replace", "search", "keyterm", "keywords", "dictation"),
    *("encoding", "summarize", "topics", "intents", "sentiment", "detect_entities", "callback", "callback_method"),
    *("tag", "extra", "mip_opt_out", "version"),
}
SPEAK = {"model", "encoding", "container", "sample_rate", "bit_rate", "speed", "callback", "tag", "mip_opt_out"}
VOICE = re.compile(r"(aura|aura-2)-[a-z]+-[a-z]{2}")
CONTAINERS = {"linear16": ("none", "wav"), "opus": ("ogg",), "mulaw": ("none", "wav"), "alaw": ("none", "wav")}
MAGIC = (b"RIFF", b"ID3", b"\xff\xfb", b"\xff\xf3", b"OggS", b"fLaC", b"\x1aE\xdf\xa3", b"\xff\xf1")
MEDIA = re.compile(r"(audio|video)/[\w.+-]+|application/octet-stream")


class FakeDeepgram(SpeechServer):
    """Deepgram as a provider; `url` ends in `/v1`."""

    base_path = "/v1"

    def __init__(self) -> None:
        super().__init__()
        for model in ("nova-3", "nova-2", "aura", "aura-2"):
            self.script(model, SpeechReply())

    def read(self, request: wire.Request) -> SpeechCall:
        """Path, credential and query are checked before anything else."""
        parts = urlsplit(request.path)
        if request.method != "POST" or parts.path not in {"/v1/listen", "/v1/speak"}:
            raise Refused(_error(404, "NOT_FOUND", "Not found."))
        if not request.headers.get("authorization", "").startswith(f"Token {KEY}"):
            raise Refused(_error(401, "INVALID_AUTH", "Invalid credentials."))
        query = parse_qs(parts.query, keep_blank_values=True)
        known = LISTEN if parts.path == "/v1/listen" else SPEAK
        if unknown := sorted(query.keys() - known):
            raise Refused(_invalid(f"Unexpected query parameter: {unknown[0]}"))
        model = query.get("model", ["base-general" if parts.path == "/v1/listen" else "aura-asteria-en"])
        if len(model) != 1:
            raise Refused(_invalid("Only one model."))
        call = SpeechCall(parts.path, model[0], query, request.headers)
        call.content_type = request.headers.get("content-type", "")
        if parts.path == "/v1/listen":
            _read_audio(call, request.body)
        else:
            _read_text(call, request.body)
        return call

    def reply_of(self, call: SpeechCall) -> SpeechReply | None:
        """A voice has the script of its generation."""
        voice = VOICE.fullmatch(call.model)
        name = voice[1] if voice else call.model
        return self.scripts.get(call.model) or self.scripts.get(name)

    def unknown_model(self, call: SpeechCall) -> Answer:
        """As the real one says it."""
        return _error(400, "Bad Request", "Bad Request: No such model/language/tier combination found.")

    def answer(self, call: SpeechCall, reply: SpeechReply) -> Answer:
        """A transcription, or audio."""
        return self._listen(call, reply) if call.path == "/v1/listen" else self._speak(call)

    def _listen(self, call: SpeechCall, reply: SpeechReply) -> Answer:
        if call.audio.startswith(b"{") or not call.audio.startswith(MAGIC):
            raise Refused(
                _error(400, "Bad Request", "Bad Request: failed to process audio: corrupt or unsupported data")
            )
        duration = reply.seconds if reply.seconds is not None else sounds.seconds_of_wav(call.audio)
        assert duration is not None, "what is no WAV needs a script that says how long it is"
        channels = 2 if call.parameters.get("multichannel") == ["true"] else 1
        call.seconds = duration * channels
        return Answer(200, {**JSON, "dg-request-id": REQUEST_ID}, json.dumps(_results(call, reply, duration)).encode())

    def _speak(self, call: SpeechCall) -> Answer:
        if not VOICE.fullmatch(call.model):
            raise Refused(self.unknown_model(call))
        call.characters = len(call.text)
        encoding = call.parameters.get("encoding", ["mp3"])[0]
        container = call.parameters.get("container", ["wav" if encoding == "linear16" else ""])[0]
        if "container" in call.parameters and container not in CONTAINERS.get(encoding, ()):
            raise Refused(_error(400, "UNSUPPORTED_AUDIO_FORMAT", "The container does not fit the encoding."))
        pcm = sounds.tone(len(call.text) * SECONDS_A_CHARACTER)
        if encoding == "linear16":
            body, kind = (sounds.wav(pcm), "audio/wav") if container == "wav" else (pcm, "audio/l16;rate=24000")
        elif encoding in sounds.CODECS:
            body, kind = sounds.encoded(pcm, encoding), f"audio/{encoding}"
        else:
            raise Refused(_error(400, "UNSUPPORTED_AUDIO_FORMAT", "Unsupported encoding."))
        headers = {
            "Content-Type": kind,
            "dg-model-name": call.model,
            "dg-char-count": str(len(call.text)),
            "dg-request-id": REQUEST_ID,
        }
        return Answer(200, headers, body, is_chunked=True)


def _read_audio(call: SpeechCall, body: bytes) -> None:
    if call.content_type.startswith("application/json"):
        try:
            url = json.loads(body)["url"]
        except (ValueError, KeyError, TypeError):
            message = "Content-type was application/json, but we could not process the JSON payload."
            raise Refused(_error(400, "Bad Request", message)) from None
        raise Refused(_error(400, "REMOTE_CONTENT_ERROR", f"Could not fetch {url}."))  # there is no network here
    if not MEDIA.fullmatch(call.content_type.partition(";")[0]):
        raise Refused(_error(415, "UNSUPPORTED_MEDIA_TYPE", "The media type is not one of audio."))
    call.audio = body


def _read_text(call: SpeechCall, body: bytes) -> None:
    try:
        sent = json.loads(body)
    except ValueError:
        raise Refused(_invalid("EOF while parsing a value")) from None
    if not isinstance(sent, dict) or set(sent) != {"text"} or not isinstance(sent["text"], str):
        raise Refused(_invalid("missing field `text`"))
    if not sent["text"].strip():
        raise Refused(_error(400, "Bad Request", "Input text contains no characters."))
    if len(sent["text"]) > LONGEST_TEXT:
        raise Refused(
            _error(413, "PAYLOAD_TOO_LARGE", f"Input text exceeds maximum character limit of {LONGEST_TEXT}.")
        )
    call.text = sent["text"]


def _results(call: SpeechCall, reply: SpeechReply, duration: float) -> dict[str, Any]:
    has = {name for name, values in call.parameters.items() if values == ["true"]}
    shown = reply.text.split()
    step = duration / max(1, len(shown))
    words = []
    for place, text in enumerate(shown):
        word: dict[str, Any] = {
            "word": text.strip(".,?!").lower(),
            "start": round(place * step, 4),
            "end": round((place + 0.9) * step, 4),
            "confidence": 0.98,
        }
        if has & {"punctuate", "smart_format"}:
            word["punctuated_word"] = text
        if "diarize" in has:
            word |= {"speaker": place * reply.speakers // len(shown), "speaker_confidence": 0.7}
        words.append(word)
    channel: dict[str, Any] = {"alternatives": [{"transcript": reply.text, "confidence": 0.98, "words": words}]}
    if "detect_language" in has:
        channel["detected_language"] = "en"
    results: dict[str, Any] = {"channels": [channel] * (2 if "multichannel" in has else 1)}
    if "utterances" in has and words:
        results["utterances"] = [
            {
                "start": group[0]["start"],
                "end": group[-1]["end"],
                "confidence": 0.98,
                "channel": 0,
                "transcript": " ".join(word.get("punctuated_word", word["word"]) for word in group),
                "words": group,
                "id": "utterance",
                **({"speaker": speaker} if "diarize" in has else {}),
            }
            for speaker in range(reply.speakers)
            if (group := [word for word in words if word.get("speaker", 0) == speaker])
        ]
    metadata = {
        "request_id": REQUEST_ID,
        "created": "2026-11-30T10:00:00.000Z",
        "duration": duration,
        "channels": len(results["channels"]),
        "models": ["model-1"],
    }
    return {"metadata": metadata, "results": results}


def _error(status: int, code: str, message: str) -> Answer:
    body = {"err_code": code, "err_msg": message, "request_id": REQUEST_ID}
    return Answer(status, JSON, json.dumps(body).encode())


def _invalid(details: str) -> Answer:
    body = {"category": "INVALID_JSON", "message": "Invalid request.", "details": details, "request_id": REQUEST_ID}
    return Answer(400, JSON, json.dumps(body).encode())


def error_body(code: str, message: str) -> dict[str, str]:
    """For a script: an error as Deepgram writes it."""
    return {"err_code": code, "err_msg": message, "request_id": REQUEST_ID}
