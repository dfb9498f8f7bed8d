"""A strict stand-in for a realtime provider (GA): a WebSocket server on loopback whose model names say how it behaves.

It refuses what the real one refuses: an `OpenAI-Beta` header (accepted, one `error`, close 4000), a wrong key (401),
events and fields that it does not know, audio that is no base64, a commit of nothing, a response while one runs. Each
answer comes in the order of the real one. `RealtimeScript` says what is answered, what it costs and where the
connection is lost.

In a test: `with RealtimeUpstream() as upstream:` runs it on a thread of its own; `upstream.url` is the base URL,
`upstream.script("name", RealtimeScript(...))` adds behaviour, `upstream.sessions_of("name")` is what it saw.
"""

from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from tests.fakes.on_thread import OnThread
from tests.fakes.realtime_session import FakeSession, Lost, Refused

KEY = "sk-upstream-canary-0123456789"
FRAME_LIMIT_BYTES = 16 * 2**20
USAGE = {
    "total_tokens": 330,
    "input_tokens": 180,
    "output_tokens": 150,
    "input_token_details": {
        "text_tokens": 60,
        "audio_tokens": 120,
        "image_tokens": 0,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 32, "audio_tokens": 32, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 120},
}


@dataclass(frozen=True)
class RealtimeScript:
    """How a model behaves. `lost_at` names an event (`connect`, `session.created`, `response.done`, ...) before which
    the connection is lost, at the first `lost_times` connections, with `lost_code` or, where that is None, without a
    close frame.
    """

    says: str = "Hello there."
    audio_ms: int = 400
    piece_ms: int = 100
    created_after_s: float = 0.0  # that the connection was opened
    begins_after_s: float = 0.0  # that an answer was asked for
    pause_s: float = 0.0  # before each piece
    usage: dict[str, Any] | None = field(default_factory=lambda: USAGE)
    cancelled_usage: dict[str, Any] | None = field(default_factory=lambda: USAGE)
    call: tuple[str, str] | None = None  # name and arguments: the first answer calls this function
    status: str = "completed"
    error: dict[str, Any] | None = None  # of a failed response
    transcription_usage: dict[str, Any] | None = None
    writes_down: bool = True  # else a transcription is never complete
    hears: str = "What the caller said."
    refuses_connections: int = 0  # the first so many upgrades get 503
    lost_at: str = ""
    lost_times: int = 1
    lost_code: int | None = None
    echoes_key: bool = False  # in an error after the first answer
    ignores_cancel: bool = False
    delay_s: float = 0.0  # of all that it sends
    bills: bool = False  # answers cost what `Bill` counts, instead of `usage`
    reads_late: bool = False  # audio in the format that is in force when it is committed
    refuses_clear: bool = False
    refuses_far_field: bool = False  # a `session.update` with that, as a whole
    extra_events: tuple[dict[str, Any], ...] = ()  # after `session.created`


class RealtimeUpstream(OnThread):
    """The server and what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: dict[str, RealtimeScript] = {"ok": RealtimeScript()}
        self.sessions: list[FakeSession] = []
        self.refused = 0
        self.port = 0
        self._attempts: dict[str, int] = {}

    @property
    def url(self) -> str:
        """The base URL for a provider: what comes before `/realtime`."""
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, name: str, script: RealtimeScript) -> str:
        """From now on the model `name` behaves like this; returns the name."""
        self.scripts[name] = script
        return name

    def sessions_of(self, model: str) -> list[FakeSession]:
        """The connections of one model, in their order."""
        return [session for session in list(self.sessions) if session.model == model]

    async def begin(self) -> None:
        """On a free port."""
        app = web.Application()
        app.router.add_get("/v1/realtime", self._connect)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def end(self) -> None:
        """Sessions that are open end, too."""
        await self._runner.cleanup()

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        model = request.query.get("model", "")
        script = self.scripts.get(model)
        self._attempts[model] = attempt = self._attempts.get(model, 0) + 1
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"code": "invalid_api_key"}}, status=401)
        if script is None:
            return web.json_response({"error": {"code": "model_not_found"}}, status=404)
        if attempt <= script.refuses_connections:
            self.refused += 1
            return web.json_response({"error": {"code": "overloaded"}}, status=503)
        socket = web.WebSocketResponse(max_msg_size=FRAME_LIMIT_BYTES, compress=False)
        await socket.prepare(request)
        if "OpenAI-Beta" in request.headers:
            message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
            error = {"type": "invalid_request_error", "code": "beta_api_shape_disabled", "message": message}
            await socket.send_json({"type": "error", "error": error})
            await socket.close(code=4000, message=b"invalid_request_error.beta_api_shape_disabled")
            return socket
        session = FakeSession(
            model, script, socket, is_to_be_lost=attempt - script.refuses_connections <= script.lost_times
        )
        self.sessions.append(session)
        await self._run(session, socket)
        return socket

    async def _run(self, session: FakeSession, socket: web.WebSocketResponse) -> None:
        try:
            await session.begin()
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    await socket.close(code=WSCloseCode.UNSUPPORTED_DATA)
                    break
                try:
                    await session.take(message.data)
                except Refused as refused:
                    await session.complain(refused)
        except Lost:
            await session.lose()
        finally:
            session.end(socket.close_code)
