"""The endpoint table: each inference endpoint is one row, and answers under every prefix."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from routing.gateway.compare import serve_compare
from routing.gateway.estimate import serve_estimate
from routing.gateway.forms import FLAT
from routing.gateway.listing import serve_model, serve_models, serve_providers, serve_wallet
from routing.gateway.pipeline import serve_chat
from routing.gateway.serving import Handler

PREFIXES = ("/v1", "/api", "/api/v1", "/api/gateway")
REST = "/*"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`path` below each of its prefixes; a billable one must answer 401, 402 and 429 (a test walks this table).

    A path that ends with `/*` stands for all that begin with it and go on; its handler reads the rest itself.
    """

    method: str
    path: str
    serve: Handler
    is_billable: bool
    prefixes: tuple[str, ...] = PREFIXES

    @property
    def paths(self) -> list[str]:
        """Every address of it."""
        return [prefix + self.path for prefix in self.prefixes]


ENDPOINTS = (
    Endpoint("POST", "/chat/completions", serve_chat, is_billable=True),
    Endpoint("POST", "/chat", partial(serve_chat, form=FLAT), is_billable=True, prefixes=("/api",)),
    Endpoint("POST", "/compare", serve_compare, is_billable=True, prefixes=("/api",)),
    Endpoint("POST", "/estimate", serve_estimate, is_billable=False, prefixes=("/api",)),
    Endpoint("GET", "/models", serve_models, is_billable=False),
    Endpoint("GET", "/models/*", serve_model, is_billable=False),
    Endpoint("GET", "/providers", serve_providers, is_billable=False),
    Endpoint("GET", "/wallet", serve_wallet, is_billable=False, prefixes=("/api",)),
)


class EndpointTable:
    """Rows by their addresses; several rows of one address differ in the method."""

    def __init__(self, rows: Iterable[Endpoint]) -> None:
        self._exact: dict[str, tuple[Endpoint, ...]] = {}
        beginnings: defaultdict[str, tuple[Endpoint, ...]] = defaultdict(tuple)
        for row in rows:
            for path in row.paths:
                if path.endswith(REST):
                    beginnings[path.removesuffix("*")] += (row,)
                else:
                    self._exact[path] = (*self._exact.get(path, ()), row)
        self._beginnings = tuple(beginnings.items())

    def find(self, path: str) -> tuple[Endpoint, ...]:
        """The rows for this address; none where the gateway does not serve it."""
        rows = self._exact.get(path)
        if rows is not None:
            return rows
        for beginning, rows in self._beginnings:
            if path.startswith(beginning) and len(path) > len(beginning):
                return rows
        return ()
