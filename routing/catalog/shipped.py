"""The catalogue that ships with the project, from the files in `data/`; README.md there says what stands in them."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
FILES = ("providers.json", "models.jsonl", "offers.jsonl")
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)  # since when a price holds whose beginning nobody knows
MARK_LENGTH = 16

type Components = dict[str, int]


@dataclass(frozen=True, slots=True)
class ShippedProvider:
    """An upstream API; its key and another address come from variables that begin with `variables`."""

    name: str
    base_url: str
    variables: str
    order: int
    mark: str
    dialect: str = "openai"
    quirks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def api_key_env(self) -> str:
        """The variable that holds its key."""
        return f"{self.variables}_API_KEY"

    @property
    def base_url_env(self) -> str:
        """The variable that may hold another address."""
        return f"{self.variables}_BASE_URL"


@dataclass(frozen=True, slots=True)
class ShippedPrice:
    """One dated price, in nano-USD per million units; `window` is (from, to) in minutes of the day, UTC."""

    since: datetime
    components: Components
    tiers: tuple[tuple[int, Components], ...] = ()
    window: tuple[int, int] | None = None
    weekdays_only: bool = False


@dataclass(frozen=True, slots=True)
class ShippedModel:
    """A model's row; `mark` is the fingerprint of its line."""

    id: str
    name: str
    mark: str
    kind: str
    family: str
    line: str
    successor: str
    released_on: date | None
    deprecated_on: date | None
    sunset_on: date | None
    aliases: list[str]


@dataclass(frozen=True, slots=True)
class ShippedOffer:
    """An offer's row with its prices, oldest first."""

    model: str
    provider: str
    mark: str
    upstream: str
    context: int
    max_output: int
    capabilities: list[str]
    quirks: Mapping[str, Any]
    prices: tuple[ShippedPrice, ...]


@dataclass(frozen=True, slots=True)
class Shipped:
    """All of it."""

    as_of: str
    providers: tuple[ShippedProvider, ...]
    models: tuple[ShippedModel, ...]
    offers: tuple[ShippedOffer, ...]


def fingerprint(fee_basis_points: int, data: Path = DATA) -> str:
    """Of all files, and of the fee that becomes a part of every price."""
    digest = hashlib.sha256(f"{fee_basis_points}\n".encode())
    for name in FILES:
        digest.update((data / name).read_bytes())
    return digest.hexdigest()


def read_shipped(fee_basis_points: int, data: Path = DATA) -> Shipped:
    """Parse the files; exact, no float. The fee is a part of the marks of offers, as it is of their prices."""
    return Shipped(
        (data / "as_of.txt").read_text().strip(),
        read_providers(data),
        tuple(_model(row, mark) for row, mark in _rows(data / "models.jsonl")),
        tuple(_offer(row, mark) for row, mark in _rows(data / "offers.jsonl", f" {fee_basis_points}")),
    )


@cache
def read_providers(data: Path = DATA) -> tuple[ShippedProvider, ...]:
    """The providers alone."""
    rows = json.loads((data / "providers.json").read_text())
    return tuple(ShippedProvider(mark=_mark(json.dumps(row, sort_keys=True)), **row) for row in rows)


def nano(usd_per_million: str) -> int:
    """`"3.75"` US dollars per million tokens -> nano-USD. Raises `ValueError` for what is finer."""
    amount = Decimal(usd_per_million).scaleb(9)
    if amount != amount.to_integral_value():
        raise ValueError(f"{usd_per_million} is finer than a nano-dollar per million tokens")
    return int(amount)


def _mark(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:MARK_LENGTH]


def _rows(path: Path, also: str = "") -> Iterable[tuple[dict[str, Any], str]]:
    """Each row with the mark of its line and of `also`."""
    for line in path.read_text().splitlines():
        yield json.loads(line), _mark(line + also)


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _model(row: dict[str, Any], mark: str) -> ShippedModel:
    return ShippedModel(
        id=row["id"],
        name=row["name"],
        mark=mark,
        kind=row.get("kind", "chat"),
        family=row["family"],
        line=row.get("line", ""),
        successor=row.get("successor", ""),
        released_on=_day(row.get("released")),
        deprecated_on=_day(row.get("deprecated")),
        sunset_on=_day(row.get("sunset")),
        aliases=row.get("aliases", []),
    )


def _offer(row: dict[str, Any], mark: str) -> ShippedOffer:
    return ShippedOffer(
        model=row["model"],
        provider=row["provider"],
        mark=mark,
        upstream=row["upstream"],
        context=row.get("context", 0),  # what is paid by time or by character has none
        max_output=row.get("max_output", 0),
        capabilities=row.get("capabilities", []),
        quirks=row.get("quirks", {}),
        prices=tuple(_price(price) for price in row["prices"]),
    )


def _price(row: dict[str, Any]) -> ShippedPrice:
    since = row.get("from")
    window = row.get("utc")
    return ShippedPrice(
        since=ALWAYS if since is None else datetime.fromisoformat(since).replace(tzinfo=UTC),
        components=_components(row["price"]),
        tiers=tuple((tier["above"], _components(tier["price"])) for tier in row.get("tiers", ())),
        window=None if window is None else (_minute(window[0]), _minute(window[1])),
        weekdays_only=row.get("mon_fri", False),
    )


def _components(price: dict[str, str]) -> Components:
    return {bucket: nano(amount) for bucket, amount in price.items()}


def _minute(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)
