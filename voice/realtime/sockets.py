"""Which consumer serves a WebSocket, by its path."""

from routing.gateway.exchange import Receive, Scope, Send
from routing.gateway.services import Services

NOT_FOUND = 4404


async def serve_socket(scope: Scope, receive: Receive, send: Send, services: Services) -> None:
    """One connection, to its end."""
    message = await receive()
    assert message["type"] == "websocket.connect"
    await send({"type": "websocket.close", "code": NOT_FOUND, "reason": f"nothing is served at {scope['path'][:80]}"})
