"""Voice's rows of the endpoint table; see `routing.gateway.endpoints`."""

from routing.gateway.endpoints import Endpoint
from voice.uploads.receive import serve_head, serve_put

API = ("/api",)

VOICE_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("PUT", "/voice/audio/*", serve_put, is_billable=False, prefixes=API),
    Endpoint("HEAD", "/voice/audio/*", serve_head, is_billable=False, prefixes=API),
)
