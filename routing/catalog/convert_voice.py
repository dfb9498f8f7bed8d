"""Models that hear or speak, from the facts: `DIR/other_models.json`, prices in US dollars per unit as decimal strings.

Taken is what providers of ours offer by the paths that are served here. What is paid by the second of audio becomes a
price per million milliseconds; what costs finer than a nano-dollar is rounded up. Where the facts name both tokens and
seconds, both stay: a call is charged by what its provider reports.
"""

from collections.abc import Iterable, Mapping
from decimal import ROUND_UP, Decimal
from typing import Any

PER_MILLION = 10**6
MS_PER_S = 1_000
NANO = Decimal("0.000000001")
KINDS = {"audio_transcription": "transcription", "audio_speech": "speech", "realtime": "realtime"}
PATHS = {
    "transcription": "/v1/audio/transcriptions",
    "speech": "/v1/audio/speech",
    "realtime": "/v1/realtime",
}
PER_UNIT = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cache_read",
    "input_cost_per_audio_token": "input_audio",
    "cache_read_input_audio_token_cost": "cache_read_audio",
    "input_cost_per_image_token": "input_image",
    "cache_read_input_image_token_cost": "cache_read_image",
    "output_cost_per_token": "output",
    "output_cost_per_audio_token": "output_audio",
    "input_cost_per_character": "characters",
}

type Json = dict[str, Any]


def voice_rows(rows: Iterable[Json], hand: Mapping[str, Any], as_of: str) -> tuple[list[Json], list[Json]]:
    """Rows for `models.jsonl` and for `offers.jsonl`; `hand` says what is known of them beyond the facts."""
    rows = list(rows)
    kept = [(row, kind) for row in rows if (kind := _kind(row, hand)) is not None]
    priced = {row["id"]: row["price"] for row in rows}
    add_ons = {provider: priced[name] for provider, name in hand["add_ons"].items() if name in priced}
    offers = [_offer(row, kind, hand, add_ons) for row, kind in kept]
    return [_model(row, kind, hand, as_of) for row, kind in kept], offers


def _kind(row: Json, hand: Mapping[str, Any]) -> str | None:
    """None for what cannot be served here."""
    kind = hand["kinds"].get(row["id"]) or KINDS.get(row.get("mode") or "")
    if kind is None or row["provider"] not in hand["providers"] or row["id"] in hand["left_out"]:
        return None
    is_reachable = row["provider"] in hand["other_paths"] or PATHS[kind] in (row.get("supported_endpoints") or ())
    return kind if is_reachable else None


def _id(row: Json, hand: Mapping[str, Any]) -> str:
    provider, _, own = row["id"].partition("/")
    return f"{hand['makers'].get(provider, provider)}/{own}"


def _model(row: Json, kind: str, hand: Mapping[str, Any], as_of: str) -> Json:
    sunset = row.get("deprecation_date")
    found = {
        "id": _id(row, hand),
        "name": hand["names"].get(row["id"], row["id"].partition("/")[2]),
        "kind": kind,
        "family": row["id"].partition("/")[2].partition("-")[0],
        "line": _id(row, hand),
        "deprecated": sunset and min(sunset, as_of),
        "sunset": sunset,
        "aliases": hand["aliases"].get(row["id"]),
    }
    return {name: value for name, value in found.items() if value not in (None, [])}


def _offer(row: Json, kind: str, hand: Mapping[str, Any], add_ons: Mapping[str, Mapping[str, str]]) -> Json:
    price = _price(row["price"], kind)
    if kind == "transcription" and row["provider"] in add_ons:
        price["add_on_ms"] = _price(add_ons[row["provider"]], kind)["audio_ms"]
    found = {
        "model": _id(row, hand),
        "provider": row["provider"],
        "upstream": row["id"].partition("/")[2],
        "context": row.get("max_input_tokens"),
        "max_output": row.get("max_output_tokens"),
        "capabilities": hand["capabilities"].get(row["id"]),
        "prices": [{"price": price}],
    }
    return {name: value for name, value in found.items() if value not in (None, [])}


def _price(given: Mapping[str, str], kind: str) -> dict[str, str]:
    """What is heard is paid by the seconds that go in, what is spoken by those that come out."""
    price = {bucket: _scaled(given[name], PER_MILLION) for name, bucket in PER_UNIT.items() if name in given}
    by_second = given.get("output_cost_per_second" if kind == "speech" else "input_cost_per_second")
    if by_second is not None:
        price["audio_ms"] = _scaled(by_second, PER_MILLION // MS_PER_S)
    return price


def _scaled(per_unit: str, units: int) -> str:
    dollars = (Decimal(per_unit) * units).quantize(NANO, ROUND_UP)
    return f"{dollars:f}".rstrip("0").rstrip(".") or "0"
