"""Voice's rows of the endpoint table; see `routing.gateway.endpoints`."""

from routing.gateway.endpoints import Endpoint
from voice.meetings.serve import serve_meeting
from voice.realtime.serving import serve_client_secret, serve_ticket
from voice.speech.synthesize import serve_speech, serve_tts
from voice.speech.transcribe import serve_stt, serve_transcription, serve_translation
from voice.uploads.receive import serve_head, serve_put

API = ("/api",)

VOICE_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", "/audio/transcriptions", serve_transcription, is_billable=True),
    Endpoint("POST", "/audio/translations", serve_translation, is_billable=True),
    Endpoint("POST", "/audio/speech", serve_speech, is_billable=True),
    Endpoint("POST", "/deepgram/stt", serve_stt, is_billable=True, prefixes=API),
    Endpoint("POST", "/deepgram/tts", serve_tts, is_billable=True, prefixes=API),
    Endpoint("POST", "/voice/transcribe-meeting", serve_meeting, is_billable=True, prefixes=API),
    Endpoint("POST", "/voice/realtime", serve_ticket, is_billable=False, prefixes=API),
    Endpoint("POST", "/realtime/client_secrets", serve_client_secret, is_billable=False),
    Endpoint("PUT", "/voice/audio/*", serve_put, is_billable=False, prefixes=API),
    Endpoint("HEAD", "/voice/audio/*", serve_head, is_billable=False, prefixes=API),
)
