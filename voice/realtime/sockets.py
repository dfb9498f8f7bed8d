"""Which consumer serves a WebSocket, by its path."""

from komilion.common.errors import NotFound
from routing.gateway.endpoints import PREFIXES
from routing.gateway.exchange import Receive, Scope, Send
from routing.gateway.services import Services
from voice.realtime.consumer import RealtimeConsumer

PATHS = frozenset(("/ws/voice/realtime", *(f"{prefix}/realtime" for prefix in PREFIXES)))


async def serve_socket(scope: Scope, receive: Receive, send: Send, services: Services) -> None:
    """One connection, to its end."""
    consumer = RealtimeConsumer(services)
    if scope["path"] in PATHS:
        await consumer(scope, receive, send)
    else:
        await consumer.refuse(scope, receive, send, NotFound())
