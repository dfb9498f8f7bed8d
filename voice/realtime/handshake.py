"""What a client asks for when it opens a voice session: its credential, the model, its protocol. Pure.

Servers send headers. Browsers cannot, so they send sub-protocols: `realtime`, and `openai-insecure-api-key.KEY` with
the key or ticket, as OpenAI's own do; or they put a ticket into the URL.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from komilion.common.credentials import CREDENTIAL_HEADERS, bare_token
from komilion.common.errors import Unauthenticated
from voice.realtime import beta

PROTOCOL = "realtime"
KEY_PROTOCOL = "openai-insecure-api-key."
TEXT_MOST_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class Handshake:
    """`protocol` is the sub-protocol to agree on; `is_browser`: a refusal's status would not be seen."""

    token: str
    model: str
    protocol: str | None
    is_beta: bool
    is_browser: bool
    headers: Mapping[bytes, bytes]

    def header(self, name: bytes) -> str:
        """A header as printable text; empty where absent."""
        text = self.headers.get(name, b"").decode("utf-8", "replace")[:TEXT_MOST_CHARACTERS]
        return "".join(character for character in text if character.isprintable())


def read_handshake(scope: Mapping[str, Any]) -> Handshake:
    """From an ASGI scope. `token` is empty where there is none, or several that differ."""
    headers = dict(scope["headers"])
    query = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=16)
    offered: list[str] = scope.get("subprotocols") or []
    tokens = {bare_token(value).decode("latin-1") for name, value in scope["headers"] if name in CREDENTIAL_HEADERS}
    tokens |= {word.removeprefix(KEY_PROTOCOL) for word in offered if word.startswith(KEY_PROTOCOL)}
    tokens |= set(query.get("token", ()))
    tokens.discard("")
    return Handshake(
        token=tokens.pop() if len(tokens) == 1 else "",
        model=query.get("model", [""])[-1],
        protocol=PROTOCOL if PROTOCOL in offered else None,
        is_beta=headers.get(b"openai-beta", b"").decode("latin-1").strip() == beta.HEADER
        or beta.SUBPROTOCOL in offered,
        is_browser=b"origin" in headers,
        headers=headers,
    )


def token_of(handshake: Handshake) -> str:
    """The one credential. Raises `Unauthenticated`."""
    if not handshake.token or not handshake.token.isascii():
        raise Unauthenticated("Send one API key as `Authorization: Bearer ck_...`, or a session's token.")
    return handshake.token
