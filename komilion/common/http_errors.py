"""How an exchange of the HTTP client fails."""


class HttpError(Exception):
    """An exchange failed; the subclass says how."""


class NotConnected(HttpError):
    """There is no connection: not a byte of the request went out."""


class Disconnected(HttpError):
    """The connection ended before the response did."""


class BadResponse(HttpError):
    """What came is not HTTP, or beyond a limit."""


class TooLarge(BadResponse):
    """The body is longer than the reader takes: `size` bytes so far, of which `last` came last."""

    def __init__(self, message: str, size: int, last: bytes) -> None:
        super().__init__(message)
        self.size, self.last = size, last
