"""The scripted OpenAI of speech: `/audio/transcriptions`, `/audio/translations`, `/audio/speech`, as strict as it.

A model answers once it has a script. From the start: `whisper-1` (times, by duration), `gpt-4o-transcribe` (text and
streams, by tokens), `gpt-4o-transcribe-diarize` (speakers, by tokens), `tts-1` and `gpt-4o-mini-tts`.
"""

import base64
import io
import json
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_form

from tests.fakes import sounds, wire
from tests.fakes.speech_server import Answer, Refused, SpeechCall, SpeechReply, SpeechServer

KEY = "sk-speech-canary-0123456789"
LONGEST_TEXT = 4_096
SECONDS_A_CHARACTER = 0.03
SPOKEN_TOKENS_A_SECOND = 20
TOKENS_A_SECOND = 10
AUDIO_EVENT_BYTES = 4_801  # an odd number: half a sample each
JSON = {"Content-Type": "application/json"}
EXTENSIONS = ("flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm")
VOICES = {
    *("alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer", "verse", "marin", "cedar")
}
TRANSCRIPTION_FIELDS = {
    *("model", "language", "prompt", "response_format", "temperature", "timestamp_granularities[]", "stream"),
    *("chunking_strategy", "include[]"),
}
TRANSLATION_FIELDS = {"model", "prompt", "response_format", "temperature"}
SPEECH_FIELDS = {"model", "input", "voice", "instructions", "response_format", "speed", "stream_format"}
FORMATS = {
    "whisper-1": {"json", "text", "srt", "verbose_json", "vtt"},
    "gpt-4o-transcribe": {"json"},
    "gpt-4o-transcribe-diarize": {"json", "text", "diarized_json"},
}


class FakeOpenAIAudio(SpeechServer):
    """OpenAI as a provider of speech; `url` ends in `/v1`."""

    base_path = "/v1"

    def __init__(self) -> None:
        super().__init__()
        self.script("whisper-1", SpeechReply())
        self.script("gpt-4o-transcribe", SpeechReply(usage="tokens"))
        self.script("gpt-4o-transcribe-diarize", SpeechReply(usage="tokens", speakers=2))
        self.script("tts-1", SpeechReply())
        self.script("gpt-4o-mini-tts", SpeechReply())

    def read(self, request: wire.Request) -> SpeechCall:
        """Path, credential and form are checked before anything else."""
        known = {"/v1/audio/transcriptions", "/v1/audio/translations", "/v1/audio/speech"}
        if request.method != "POST" or request.path not in known:
            raise Refused(_error(404, "Invalid URL", "invalid_request_error"))
        if not request.headers.get("authorization", "").startswith(f"Bearer {KEY}"):
            raise Refused(_error(401, f"Incorrect API key provided: {KEY}.", "authentication_error", "invalid_api_key"))
        if request.path == "/v1/audio/speech":
            return _read_speech(request)
        return _read_form(request)

    def unknown_model(self, call: SpeechCall) -> Answer:
        """As the real one says it."""
        return _error(404, f"The model `{call.model}` does not exist.", "invalid_request_error", "model_not_found")

    def answer(self, call: SpeechCall, reply: SpeechReply) -> Answer:
        """A transcription, or audio."""
        return self._speak(call, reply) if call.path.endswith("/speech") else self._listen(call, reply)

    def _listen(self, call: SpeechCall, reply: SpeechReply) -> Answer:
        wanted = call.parameters.get("response_format", ["json"])[0]
        if wanted not in FORMATS.get(call.model, {"json", "text", "srt", "verbose_json", "vtt", "diarized_json"}):
            message = f"response_format '{wanted}' is not compatible with model '{call.model}'."
            raise Refused(_error(400, message, "invalid_request_error", "unsupported_value"))
        duration = reply.seconds if reply.seconds is not None else sounds.seconds_of_wav(call.audio)
        if duration is None:
            raise Refused(_error(400, "Invalid file format.", "invalid_request_error"))
        call.seconds = duration
        usage = _usage(reply, duration)
        if call.parameters.get("stream") == ["true"] and call.model.startswith("gpt-"):
            return Answer(200, {"Content-Type": "text/event-stream"}, _events(reply, usage), is_chunked=True)
        body: dict[str, Any] = {"text": reply.text, **usage}
        if wanted == "verbose_json":
            body |= _verbose(call, reply, duration)
        if wanted == "diarized_json":
            body |= {"task": "transcribe", "duration": duration, "segments": _diarized(reply, duration)}
        return Answer(200, JSON, json.dumps(body).encode())

    def _speak(self, call: SpeechCall, reply: SpeechReply) -> Answer:
        call.characters = len(call.text)
        call.seconds = len(call.text) * SECONDS_A_CHARACTER if reply.seconds is None else reply.seconds
        pcm = sounds.tone(call.seconds)
        wanted = call.parameters["response_format"][0]
        if wanted == "pcm":
            body = pcm
        elif wanted == "wav":
            body = sounds.wav(pcm)
        else:
            body = sounds.encoded(pcm, wanted)
        if call.parameters.get("stream_format") == ["sse"]:
            if call.model.startswith("tts-1"):
                message = "stream_format 'sse' is not supported with this model."
                raise Refused(_error(400, message, "invalid_request_error"))
            return Answer(200, {"Content-Type": "text/event-stream"}, _audio_events(call, reply, body), is_chunked=True)
        kinds = {"mp3": "audio/mpeg", "opus": "audio/opus", "pcm": "audio/pcm"}
        return Answer(200, {"Content-Type": kinds.get(wanted, f"audio/{wanted}")}, body, is_chunked=True)


def _read_form(request: wire.Request) -> SpeechCall:
    content_type = request.headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data; boundary="):
        raise Refused(_error(415, "Unsupported content type.", "invalid_request_error"))
    fields: dict[str, list[str]] = {}
    files: list[tuple[str, str, bytes]] = []

    def on_field(field: Any) -> None:
        fields.setdefault(field.field_name.decode(), []).append((field.value or b"").decode())

    def on_file(file: Any) -> None:
        file.file_object.seek(0)
        files.append((file.field_name.decode(), file.file_name.decode(), file.file_object.read()))
        file.close()  # a large one is on the disk

    length = str(len(request.body)).encode()
    headers = {"Content-Type": content_type.encode(), "Content-Length": length}
    try:
        parse_form(headers, io.BytesIO(request.body), on_field, on_file)
    except FormParserError:
        raise Refused(_error(400, "Could not parse multipart form.", "invalid_request_error")) from None
    if len(files) != 1 or files[0][0] != "file":
        raise Refused(_error(400, "you must provide a file", "invalid_request_error"))
    _, name, audio = files[0]
    allowed = TRANSLATION_FIELDS if request.path.endswith("/translations") else TRANSCRIPTION_FIELDS
    if unknown := sorted(fields.keys() - allowed):
        raise Refused(_error(400, f"Unrecognized request argument: {unknown[0]}", "invalid_request_error"))
    if "model" not in fields:
        raise Refused(_error(400, "you must provide a model parameter", "invalid_request_error"))
    if not audio or name.rpartition(".")[2] not in EXTENSIONS:
        raise Refused(_error(400, f"Invalid file format. Supported formats: {EXTENSIONS}", "invalid_request_error"))
    if not 0 <= float(fields.get("temperature", ["0"])[0]) <= 1:
        raise Refused(_error(400, "temperature must be in 0..1", "invalid_request_error"))
    return SpeechCall(request.path, fields["model"][0], fields, request.headers, content_type, audio)


def _read_speech(request: wire.Request) -> SpeechCall:
    try:
        body = json.loads(request.body)
    except ValueError:
        raise Refused(_error(400, "We could not parse the JSON body.", "invalid_request_error")) from None
    if unknown := sorted(body.keys() - SPEECH_FIELDS):
        raise Refused(_error(400, f"Unrecognized request argument: {unknown[0]}", "invalid_request_error"))
    if not {"model", "input", "voice"} <= body.keys() or not body["input"]:
        raise Refused(_error(400, "model, input and voice are required", "invalid_request_error"))
    if len(body["input"]) > LONGEST_TEXT:
        message = f"String should have at most {LONGEST_TEXT} characters"
        raise Refused(_error(400, message, "invalid_request_error", "string_above_max_length"))
    if body["voice"] not in VOICES or not 0.25 <= body.get("speed", 1) <= 4:
        raise Refused(_error(400, "Input should be a valid voice and speed", "invalid_request_error"))
    wanted = body.get("response_format", "mp3")
    if wanted not in {"mp3", "opus", "aac", "flac", "wav", "pcm"}:
        raise Refused(_error(400, "Input should be 'mp3', ...", "invalid_request_error"))
    parameters = {name: [str(value)] for name, value in body.items()} | {"response_format": [wanted]}
    call = SpeechCall(request.path, body["model"], parameters, request.headers)
    call.text = body["input"]
    return call


def _usage(reply: SpeechReply, duration: float) -> dict[str, Any]:
    if reply.usage == "none":
        return {}
    if reply.usage == "duration":
        return {"usage": {"type": "duration", "seconds": duration}}
    heard, written = round(duration * TOKENS_A_SECOND), len(reply.text.split())
    return {
        "usage": {
            "type": "tokens",
            "input_tokens": heard + 2,
            "input_token_details": {"text_tokens": 2, "audio_tokens": heard},
            "output_tokens": written,
            "total_tokens": heard + 2 + written,
        }
    }


def _verbose(call: SpeechCall, reply: SpeechReply, duration: float) -> dict[str, Any]:
    shown = reply.text.split()
    step = duration / max(1, len(shown))
    segment = {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": duration,
        "text": f" {reply.text}",
        "tokens": list(range(len(shown))),
        "temperature": 0.0,
        "avg_logprob": -0.2,
        "compression_ratio": 1.2,
        "no_speech_prob": 0.01,
    }
    body: dict[str, Any] = {"task": "transcribe", "language": "english", "duration": duration}
    granularities = call.parameters.get("timestamp_granularities[]", ["segment"])
    if "segment" in granularities:
        body["segments"] = [segment] if shown else []
    if "word" in granularities:
        body["words"] = [
            {"word": word.strip(".,?!"), "start": round(place * step, 3), "end": round((place + 0.9) * step, 3)}
            for place, word in enumerate(shown)
        ]
    return body


def _diarized(reply: SpeechReply, duration: float) -> list[dict[str, Any]]:
    shown = reply.text.split()
    share = -(-len(shown) // reply.speakers)
    return [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{speaker}",
            "start": round(duration * speaker / reply.speakers, 3),
            "end": round(duration * (speaker + 1) / reply.speakers, 3),
            "speaker": "ABCDEFGH"[speaker],
            "text": " ".join(shown[speaker * share : (speaker + 1) * share]),
        }
        for speaker in range(reply.speakers)
    ]


def _events(reply: SpeechReply, usage: dict[str, Any]) -> bytes:
    deltas = [{"type": "transcript.text.delta", "delta": f"{word} "} for word in reply.text.split()]
    done = {"type": "transcript.text.done", "text": reply.text, **usage}
    return b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in [*deltas, done])


def _audio_events(call: SpeechCall, reply: SpeechReply, audio: bytes) -> bytes:
    pieces = [audio[start : start + AUDIO_EVENT_BYTES] for start in range(0, len(audio), AUDIO_EVENT_BYTES)]
    events: list[dict[str, Any]] = [
        {"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()} for piece in pieces
    ]
    said = len(call.text.split())
    spoken = round(call.seconds * SPOKEN_TOKENS_A_SECOND) if reply.tokens is None else reply.tokens
    usage = {"input_tokens": said, "output_tokens": spoken, "total_tokens": said + spoken}
    events.append({"type": "speech.audio.done", "usage": usage})
    return b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in events)


def _error(status: int, message: str, kind: str, code: str | None = None) -> Answer:
    return Answer(status, JSON, json.dumps(error_body(message, kind, code)).encode())


def error_body(message: str, kind: str = "server_error", code: str | None = None) -> dict[str, Any]:
    """For a script: an error as OpenAI writes it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
