"""How a voice session ends: close codes, and the errors that stand for them. docs/voice.md has the table.

Codes from 4400 on are HTTP's statuses with 4000 added; below are those of RFC 6455, section 7.4.1, and its registry.
"""

from dataclasses import dataclass

from komilion.common.errors import BadRequest, KomilionError, RequestTimeout, ServerStopped, SessionExpired, SessionIdle


@dataclass(frozen=True, slots=True)
class End:
    """Why a session ends: the close code and its reason, with an `error` event before it where there is an error."""

    code: int
    reason: str
    error: KomilionError | None = None


def end_of(error: KomilionError) -> End:
    """The end that an error makes: 4000 + its status where the caller can do something about it, else 1011."""
    if isinstance(error, RequestTimeout):
        return End(1001, error.reason, error)
    if isinstance(error, ServerStopped):
        return End(1012, error.reason, error)
    code = 4_000 + error.status if error.status < 500 else 1011
    return End(code, error.reason, error)


BINARY = BadRequest("Events are JSON in text frames; audio is base64 inside `input_audio_buffer.append`.")
CLIENT_LEFT = End(1000, "client_left")
SERVER_STOPPED = end_of(ServerStopped())
EXPIRED = end_of(SessionExpired())
IDLE = end_of(SessionIdle())
