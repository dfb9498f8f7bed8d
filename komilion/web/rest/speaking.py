"""What hears and speaks in the OpenAPI document: forms, audio and events beside JSON; see `inference`."""

from typing import Any

from accounts.api.documented import COUNT, FLAG, NANO, TEXT, USD, JsonSchema, money, nullable, ref, thing
from komilion.common.audio.encode import CONTENT_TYPES
from komilion.web.rest.inference import KEY_ONLY, content, errors
from routing.selection.words import POLICIES
from voice.api.documented import JOB_EXAMPLE
from voice.meetings.options import FORMATS, SPEAKERS_MOST
from voice.realtime.schema import VOICES
from voice.speech.captions import SRT_TYPE, VTT_TYPE
from voice.speech.raw import FILES
from voice.speech.raw import FORMS as RAW_FORMS
from voice.speech.requests import AUDIO_FORMATS, GRANULARITIES, RESPONSE_FORMATS

SPEECH_ERRORS = (400, 401, 402, 403, 404, 405, 408, 413, 415, 429, 500, 502, 503)
SESSION_ERRORS = (400, 401, 403, 404, 405, 408, 413, 415, 429, 500, 503)
BINARY: JsonSchema = {"type": "string", "format": "binary"}
NUMBER: JsonSchema = {"type": "number"}
SECONDS: JsonSchema = {**NUMBER, "description": "seconds"}
SPEED: JsonSchema = {"type": "number", "minimum": 0.25, "maximum": 4}
EVENTS = {"text/event-stream": {"schema": TEXT}}
CAPTIONS = {kind: {"schema": TEXT} for kind in ("text/plain", SRT_TYPE.partition(";")[0], VTT_TYPE.partition(";")[0])}
SOUNDS = {kind: {"schema": BINARY} for kind in sorted(set(CONTENT_TYPES.values()))}
NOTE: JsonSchema = {"type": "object", "description": "who answered, what it cost, and what was left out"}

TRANSCRIPTION_REQUEST: JsonSchema = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {**BINARY, "description": "the audio, with all the rest at most 25 MiB"},
        "model": {"type": "string", "maxLength": 200, "description": "without one, the cheapest that can do it"},
        "response_format": {"type": "string", "enum": list(RESPONSE_FORMATS), "default": "json"},
        "timestamp_granularities[]": {"type": "array", "items": {"type": "string", "enum": list(GRANULARITIES)}},
        "language": {"type": "string", "maxLength": 200, "description": "such as `en`; without it, it is found out"},
        "prompt": {"type": "string", "maxLength": 10_000},
        "temperature": {"type": "number", "minimum": 0, "maximum": 1},
        "keywords[]": {"type": "array", "items": TEXT},
        "stream": FLAG,
        "user": {"type": "string", "maxLength": 200, "description": "your end user, for usage by user"},
    },
}
TRANSCRIPTION: JsonSchema = {
    "type": "object",
    "required": ["text"],
    "properties": {
        "text": TEXT,
        "language": TEXT,
        "duration": SECONDS,
        "segments": {"type": "array", "items": {"type": "object"}, "description": "verbose_json, diarized_json"},
        "words": {"type": "array", "items": {"type": "object"}, "description": "verbose_json"},
        "usage": {"type": "object", "description": "seconds or tokens, and `cost`"},
        "x_komilion": NOTE,
    },
}
SPEECH_REQUEST: JsonSchema = {
    "type": "object",
    "required": ["input"],
    "properties": {
        "input": {"type": "string", "minLength": 1, "description": "the text, at most 50,000 characters"},
        "model": {"type": "string", "maxLength": 200, "description": "without one, the cheapest"},
        "voice": {"type": "string", "maxLength": 200, "description": f"{', '.join(VOICES)}; or the provider's own"},
        "response_format": {"type": "string", "enum": list(AUDIO_FORMATS), "default": "mp3"},
        "speed": SPEED,
        "instructions": {"type": "string", "maxLength": 10_000, "description": "for models that know such a thing"},
        "stream_format": {"type": "string", "enum": ["audio", "sse"], "default": "audio"},
        "user": {"type": "string", "maxLength": 200},
    },
}
LISTEN_ANSWER: JsonSchema = {
    "type": "object",
    "required": ["metadata", "results"],
    "properties": {"metadata": {"type": "object"}, "results": {"type": "object"}, "x_komilion": NOTE},
}
LISTEN_FORM: JsonSchema = {"type": "object", "required": ["audio"], "properties": {"audio": BINARY}}
LISTEN_URL: JsonSchema = {
    "type": "object",
    "required": ["url"],
    "properties": {"url": {"type": "string", "minLength": 1, "description": "https, on the public Internet"}},
}
SPEAK_REQUEST: JsonSchema = {
    "type": "object",
    "required": ["text"],
    "properties": {
        "text": {"type": "string", "minLength": 1, "description": "at most 50,000 characters"},
        "model": {"type": "string", "maxLength": 200, "description": "a model, or a voice such as `aura-2-thalia-en`"},
        "voice": {"type": "string", "maxLength": 200},
        "encoding": {"type": "string", "enum": ["linear16", "mp3", "opus", "flac", "aac"], "default": "linear16"},
        "container": {"type": "string", "enum": ["none", "wav", "ogg"]},
        "sample_rate": {"type": "integer", "const": 24_000},
        "speed": SPEED,
    },
}
MEETING_FIELDS: dict[str, JsonSchema] = {
    "language": {"type": "string", "maxLength": 35, "description": "without it, or with `auto`, it is found out"},
    "diarize": {"type": "boolean", "default": True},
    "speakers": {
        **COUNT,
        "minimum": 1,
        "maximum": SPEAKERS_MOST,
        "description": "how many speak; without it that is guessed. Of no effect where the provider hears who speaks",
    },
    "summarize": {"type": "boolean", "default": False},
    "format": {"type": "string", "enum": list(FORMATS), "default": "json"},
    "model": {"type": "string", "maxLength": 200},
    "async": {"type": "boolean", "default": False},
    "webhookUrl": {"type": "string", "description": "told when the job is done; makes it a job"},
}
MEETING_FORM: JsonSchema = {
    "type": "object",
    "description": "exactly one of `audio`, `audioKey` and `audioUrl`",
    "properties": {
        "audio": {**BINARY, "description": "at most 4 MiB"},
        "audioKey": TEXT,
        "audioUrl": TEXT,
        **MEETING_FIELDS,
    },
}
MEETING_REQUEST: JsonSchema = {
    "type": "object",
    "description": "exactly one of `audioKey` and `audioUrl`",
    "properties": {
        "audioKey": {**TEXT, "description": "of an upload"},
        "audioUrl": {**TEXT, "description": "https, on the public Internet"},
        **MEETING_FIELDS,
    },
}
MEETING: JsonSchema = {
    "type": "object",
    "required": ["text", "duration", "speakerSource", "speakers", "utterances", "cost_usd", "cost_nano_usd"],
    "properties": {
        "text": TEXT,
        "language": nullable(TEXT),
        "duration": SECONDS,
        "speakerSource": {"type": "string", "enum": ["provider", "heuristic", "none"]},
        "speakers": {"type": "array", "items": {"type": "object"}},
        "utterances": {"type": "array", "items": {"type": "object"}},
        "summary": {"type": ["object", "null"], "description": "where `summarize` asks for it"},
        "summaryError": {"type": "object"},
        **money("cost"),
        "x_komilion": {"type": "object"},
    },
}
SESSION_REQUEST: JsonSchema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "policy": {"type": "string", "enum": list(POLICIES), "default": "balanced"},
        "voice": {"type": "string", "enum": list(VOICES), "default": "alloy"},
        "instructions": TEXT,
        "tools": {"type": "array", "items": {"type": "object"}, "description": "functions, as in a session.update"},
    },
}
SESSION: JsonSchema = thing(
    {
        "url": {**TEXT, "description": "where to connect; the token is in it"},
        "token": {**TEXT, "description": "opens one session, as a bearer token"},
        "expiresAt": {**COUNT, "description": "Unix seconds"},
        "sessionConfig": {"type": "object", "description": "what may be sent as `session` of a session.update"},
        "model": TEXT,
        "audioFormat": {"type": "object"},
        "estimatedCostPerMinute": USD,
        "estimatedCostPerMinuteNanoUsd": NANO,
        "maxSeconds": COUNT,
    }
)
SECRET_REQUEST: JsonSchema = {
    "type": "object",
    "required": ["session"],
    "additionalProperties": False,
    "properties": {
        "session": {
            "type": "object",
            "required": ["type", "model"],
            "properties": {"type": {"type": "string", "const": "realtime"}, "model": {**TEXT, "minLength": 1}},
        },
        "expires_after": {
            "type": ["object", "null"],
            "required": ["seconds"],
            "properties": {"anchor": TEXT, "seconds": {"type": "integer", "minimum": 10}},
        },
    },
}
SECRET: JsonSchema = thing({"value": TEXT, "expires_at": COUNT, "session": {"type": "object"}})

SPEAKING_SCHEMAS: dict[str, JsonSchema] = {
    "TranscriptionRequest": TRANSCRIPTION_REQUEST,
    "Transcription": TRANSCRIPTION,
    "SpeechRequest": SPEECH_REQUEST,
    "ListenAnswer": LISTEN_ANSWER,
    "SpeakRequest": SPEAK_REQUEST,
    "Meeting": MEETING,
    "VoiceSession": SESSION,
    "ClientSecret": SECRET,
}

NOTE_EXAMPLE = {"provider": "deepgram", "model": "deepgram/nova-3", "cost_usd": 0.000215, "cost_nano_usd": 215_000}
TRANSCRIPTION_EXAMPLE = {
    "text": "Good morning, everybody.",
    "usage": {"type": "duration", "seconds": 2.4, "cost": 0.000215, "cost_nano_usd": 215_000},
    "x_komilion": NOTE_EXAMPLE,
}
SPEECH_EXAMPLE = {"model": "openai/tts-1", "voice": "alloy", "input": "Good morning, everybody."}
LISTEN_EXAMPLE = {
    "metadata": {"request_id": "gen-019530000000aabbccddeeff001122", "duration": 2.4, "channels": 1},
    "results": {"channels": [{"alternatives": [{"transcript": "Good morning, everybody.", "words": []}]}]},
    "x_komilion": NOTE_EXAMPLE,
}
SPEAK_EXAMPLE = {"text": "Good morning, everybody.", "model": "aura-2-thalia-en"}
MEETING_REQUEST_EXAMPLE = {"audioKey": "aud_Uf1b3oD0ZQm8yqkq0Yd7cW2m1xF5sJ9R", "summarize": True}
MEETING_EXAMPLE = {
    "text": "Good morning, everybody.",
    "language": "en",
    "duration": 2.4,
    "speakerSource": "provider",
    "speakers": [{"id": 0, "name": "Speaker 0", "seconds": 2.1}],
    "utterances": [{"speaker": 0, "start": 0.1, "end": 2.2, "confidence": 0.98, "text": "Good morning, everybody."}],
    "cost_usd": 0.000215,
    "cost_nano_usd": 215_000,
}
SESSION_CONFIG = {"type": "realtime", "output_modalities": ["audio"]}
SESSION_EXAMPLE = {
    "url": "wss://api.example.com/ws/voice/realtime?token=ek_Uf1b3oD0ZQm8yqkq0Yd7cW2m1xF5sJ9R",
    "token": "ek_Uf1b3oD0ZQm8yqkq0Yd7cW2m1xF5sJ9R",
    "expiresAt": 1_772_000_600,
    "sessionConfig": SESSION_CONFIG,
    "model": "openai/gpt-realtime-2.1-mini",
    "audioFormat": {"encoding": "pcm16", "sampleRate": 24_000, "channels": 1},
    "estimatedCostPerMinute": 0.031,
    "estimatedCostPerMinuteNanoUsd": 31_000_000,
    "maxSeconds": 3_600,
}
SECRET_REQUEST_EXAMPLE = {"session": {"type": "realtime", "model": "neo-mode/balanced"}}
SECRET_EXAMPLE = {"value": SESSION_EXAMPLE["token"], "expires_at": 1_772_000_600, "session": SESSION_CONFIG}


def _query(name: str, schema: JsonSchema, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


LISTEN_QUERY = [
    _query("model", {"type": "string", "maxLength": 200}, "without one, the cheapest, rather one of Deepgram's"),
    _query("language", {"type": "string", "maxLength": 200}, "such as `en`, or `multi`"),
    *(_query(name, FLAG, "as at Deepgram") for name in ("diarize", "smart_format", "punctuate", "utterances")),
    _query("encoding", {"type": "string", "enum": [*RAW_FORMS, *FILES]}, "of audio without a container"),
    _query("sample_rate", {"type": "integer", "minimum": 4_000, "maximum": 768_000}, "of audio without a container"),
    _query("channels", {"type": "integer", "minimum": 1, "maximum": 16}, "of audio without a container"),
]


def _operation(name: str, summary: str, description: str, **more: Any) -> dict[str, Any]:
    words = {"operationId": name, "tags": ["voice"], "summary": summary, "description": description}
    return {"post": {**words, "security": KEY_ONLY, **more}}


def _transcription(name: str, summary: str, description: str) -> dict[str, Any]:
    return _operation(
        name,
        summary,
        description,
        requestBody={"required": True, "content": {"multipart/form-data": {"schema": ref("TranscriptionRequest")}}},
        responses={
            "200": {
                "description": "The text in the `response_format`; with `stream` events `transcript.text.*`.",
                "content": {**content(ref("Transcription"), TRANSCRIPTION_EXAMPLE), **CAPTIONS, **EVENTS},
            },
            **errors("OpenAIError", *SPEECH_ERRORS),
        },
    )


SPEAKING_PATHS: dict[str, Any] = {
    "/v1/audio/transcriptions": _transcription(
        "create_transcription", "Turn audio into text", "OpenAI's transcriptions: a form with the audio in `file`."
    ),
    "/v1/audio/translations": _transcription(
        "create_translation", "Turn audio into English text", "OpenAI's translations: English, whatever is spoken."
    ),
    "/v1/audio/speech": _operation(
        "create_speech",
        "Turn text into audio",
        "OpenAI's speech, streamed as it is made; a text longer than the provider takes is cut and joined.",
        requestBody={"required": True, "content": content(ref("SpeechRequest"), SPEECH_EXAMPLE)},
        responses={
            "200": {
                "description": "The audio; with `stream_format` `sse` events `speech.audio.*`, the last with the bill.",
                "content": {**SOUNDS, **EVENTS},
            },
            **errors("OpenAIError", *SPEECH_ERRORS),
        },
    ),
    "/api/deepgram/stt": _operation(
        "deepgram_listen",
        "Turn audio into text, in Deepgram's words",
        "The audio as the body (of any audio type), in a form, or behind a URL that we fetch; Deepgram's options in the"
        " query, also those that are not named here.",
        parameters=LISTEN_QUERY,
        requestBody={
            "required": True,
            "content": {
                **content(LISTEN_URL, {"url": "https://example.com/talk.mp3"}),
                "multipart/form-data": {"schema": LISTEN_FORM},
                "application/octet-stream": {"schema": BINARY},
            },
        },
        responses={
            "200": {
                "description": "The transcription in Deepgram's shape, whoever heard it.",
                "content": content(ref("ListenAnswer"), LISTEN_EXAMPLE),
            },
            **errors("Error", *SPEECH_ERRORS),
        },
    ),
    "/api/deepgram/tts": _operation(
        "deepgram_speak",
        "Turn text into audio, in Deepgram's words",
        "WAV unless `encoding` and `container` choose another form; the options may also stand in the query.",
        requestBody={"required": True, "content": content(ref("SpeakRequest"), SPEAK_EXAMPLE)},
        responses={
            "200": {"description": "The audio, streamed as it is made.", "content": SOUNDS},
            **errors("Error", *SPEECH_ERRORS),
        },
    ),
    "/api/voice/transcribe-meeting": _operation(
        "transcribe_meeting",
        "Transcribe a meeting",
        "Who said what and when, with a summary if asked for. More than ten minutes, `async` or a `webhookUrl` become a"
        " job.",
        requestBody={
            "required": True,
            "content": {
                **content(MEETING_REQUEST, MEETING_REQUEST_EXAMPLE),
                "multipart/form-data": {"schema": MEETING_FORM},
            },
        },
        responses={
            "200": {
                "description": "The meeting, in the `format`.",
                "content": {**content(ref("Meeting"), MEETING_EXAMPLE), **CAPTIONS},
            },
            "202": {
                "description": "A job; `Location` tells where to see it.",
                "content": content(
                    ref("TranscriptionJob"), {**JOB_EXAMPLE, "status": "queued", "progress": 0, "finishedAt": None}
                ),
            },
            **errors("Error", *SPEECH_ERRORS, 409),
        },
    ),
    "/api/voice/realtime": _operation(
        "prepare_voice_session",
        "Prepare a voice session",
        "A token for one spoken conversation over a WebSocket, within ten minutes.",
        requestBody={
            "required": False,
            "content": content(SESSION_REQUEST, {"policy": "balanced", "voice": "marin", "instructions": "Be brief."}),
        },
        responses={
            "200": {"description": "The token.", "content": content(ref("VoiceSession"), SESSION_EXAMPLE)},
            **errors("Error", *SESSION_ERRORS),
        },
    ),
    "/v1/realtime/client_secrets": _operation(
        "create_client_secret",
        "Prepare a voice session, in OpenAI's words",
        "A secret for one session of the Realtime API; unlike OpenAI's it opens only one.",
        requestBody={"required": True, "content": content(SECRET_REQUEST, SECRET_REQUEST_EXAMPLE)},
        responses={
            "200": {"description": "The secret.", "content": content(ref("ClientSecret"), SECRET_EXAMPLE)},
            **errors("OpenAIError", *SESSION_ERRORS),
        },
    ),
}
