"""The Channels consumer of voice sessions: `/v1/realtime?model=...` with a key, `/ws/voice/realtime` with a ticket.

It finds out who is calling, takes one parallel slot, and opens a `Session`; all that can be refused is refused before
the connection is accepted, as an HTTP status with the error as body. A browser sees no status: it is accepted, gets the
`error` event, and is closed with 4000 + status.

Channels' own loop makes two tasks of each frame and looks at every database connection; that costs several times what
the frame itself does (docs/voice.md has the figure). `Session.run` reads the frames instead, in one task.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer

from komilion.common import news
from komilion.common.clock import monotonic_s
from komilion.common.errors import KomilionError, UnknownModel, render
from komilion.common.ids import new_request_id
from komilion.common.metrics import count
from komilion.common.tasks import spawn
from routing.gateway.exchange import JSON_TYPE, Receive, Scope, Send
from routing.gateway.metered import CallFacts, admitted
from routing.gateway.services import Services
from voice.realtime.discretion import discreet_error
from voice.realtime.ends import end_of
from voice.realtime.engines import answerer_of
from voice.realtime.events import dump, error_event
from voice.realtime.handshake import Handshake, read_handshake, token_of
from voice.realtime.session import Opening, Session
from voice.realtime.tickets import TOKEN_PREFIX, Identity, Ticket, identity_of, look, take

log = logging.getLogger(__name__)

HTTP_RESPONSE = "websocket.http.response"
HANGING_UP_S = 0.2


class RealtimeConsumer(AsyncWebsocketConsumer):  # type: ignore[misc] # Channels has no types
    """One connection."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._request_id = new_request_id()
        self._tells_balance = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The whole connection."""
        self.scope, self.base_send = scope, send
        await receive()  # websocket.connect
        handshake = read_handshake(scope)
        self._services.active += 1
        try:
            await self._serve(handshake, receive)
        except KomilionError as error:
            await self._refuse(error, handshake, receive)
        finally:
            self._services.active -= 1

    async def refuse(self, scope: Scope, receive: Receive, send: Send, error: KomilionError) -> None:
        """A connection that nothing here is for."""
        self.scope, self.base_send = scope, send
        await receive()
        await self._refuse(error, read_handshake(scope), receive)

    async def _serve(self, handshake: Handshake, receive: Receive) -> None:
        ticket = await self._ticket(handshake)
        self._tells_balance = ticket.tells_balance
        vouch = ticket.identity.vouch(self._services)
        caller = await vouch()
        async with admitted(caller, self._services) as admission:
            catalog = await self._services.current_catalog(admission.catalog_version)
            answerer = answerer_of(catalog, ticket.model, caller)
            opening = Opening(
                caller=caller,
                authenticate=vouch,
                facts=_facts(handshake, ticket),
                is_beta=handshake.is_beta,
                config=ticket.config,
                tells_balance=ticket.tells_balance,
            )
            session = Session(self._services, opening, answerer.engines)
            await session.open()
            try:
                if handshake.token.startswith(TOKEN_PREFIX):
                    await take(handshake.token)
                await self.accept(subprotocol=handshake.protocol, headers=self._headers(session.engine.model))
            except BaseException:
                await session.abandon()
                raise
            await self._converse(session, ticket.identity, receive)

    async def _converse(self, session: Session, identity: Identity, receive: Receive) -> None:
        watcher = _watcher(session, identity)
        self._services.watchers.add(watcher)
        began_s, about = monotonic_s(), self._about(session)
        log.info("voice session opened", extra=about)
        try:
            end = await session.run(receive, self.send)
        finally:
            self._services.watchers.discard(watcher)
        lasted = {"seconds": round(monotonic_s() - began_s, 1), "cost_nano_usd": session.tab.charged}
        extra = {**about, "model": session.engine.model, "code": end.code, "reason": end.reason, **lasted}
        log.info("voice session ended", extra=extra)
        count("komilion_voice_sessions", (str(end.code), end.reason))
        try:
            await self.close(code=end.code, reason=end.reason)
        except OSError:
            log.debug("the client was gone before the close", extra={"session_id": session.id})

    async def _ticket(self, handshake: Handshake) -> Ticket:
        """What is asked for; a key needs no ticket."""
        token = token_of(handshake)
        if token.startswith(TOKEN_PREFIX):
            return await look(token)
        if not handshake.model:
            raise UnknownModel("Name a model: /v1/realtime?model=...", param="model")
        return Ticket(identity_of(token), handshake.model, {"type": "realtime"}, tells_balance=True)

    def _about(self, session: Session) -> dict[str, Any]:
        """What the log says of a session: who and which, never a word of it."""
        caller = session.caller.caller
        return {
            "session_id": session.id,
            "request_id": self._request_id,
            "organization_id": caller.organization_id,
            "key_id": caller.key_id,
            "model": session.engine.model,
        }

    def _headers(self, model: str) -> list[tuple[bytes, bytes]]:
        return [(b"x-request-id", self._request_id.encode()), (b"x-komilion-model", model.encode())]

    async def _refuse(self, error: KomilionError, handshake: Handshake, receive: Receive) -> None:
        """Tell why, in the way that this client can see."""
        if not self._tells_balance:
            error = discreet_error(error)
        count("komilion_errors", (str(error.status), error.reason))
        if handshake.is_browser or HTTP_RESPONSE not in self.scope.get("extensions", {}):
            end = end_of(error)
            await self.accept(subprotocol=handshake.protocol)
            await self.send(dump(error_event(error)))
            await self.close(code=end.code, reason=end.reason)
            return
        extra = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in error.headers.items()]
        head = [JSON_TYPE, (b"x-request-id", self._request_id.encode()), *extra]
        await self.base_send({"type": f"{HTTP_RESPONSE}.start", "status": error.status, "headers": head})
        await self.base_send({"type": f"{HTTP_RESPONSE}.body", "body": render(error, self.scope["path"])})
        with suppress(TimeoutError):  # uvicorn calls a handshake incomplete that was refused, until the client is gone
            async with asyncio.timeout(HANGING_UP_S):
                while True:
                    await receive()


def _facts(handshake: Handshake, ticket: Ticket) -> CallFacts:
    return CallFacts(
        endpoint="realtime",
        requested_model=ticket.model,
        streamed=True,
        client_request_id=handshake.header(b"x-client-request-id"),
        app_url=handshake.header(b"http-referer"),
        app_title=handshake.header(b"x-title"),
    )


def _watcher(session: Session, identity: Identity) -> Callable[[news.Message | None], None]:
    """Has the session look at its caller again when something about key or organization changed."""
    organization = str(session.caller.caller.organization_id)

    def hear(message: news.Message | None) -> None:
        is_ours = (
            message is None or str(message.get("id")) == organization or message.get("hash") == identity.hash.hex()
        )
        if is_ours and not session.is_ending:
            _ = spawn(session.check_caller(), name="realtime-caller")

    return hear
