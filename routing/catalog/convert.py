"""`python -m routing.catalog.convert --from DIR`: makes the shipped catalogue from a folder of facts about models.

`DIR/models.json` is `{"as_of", "models": [...]}` with prices in US dollars per token as decimal strings, and
`DIR/other_models.json` the same for models that hear or speak (`convert_voice`). What comes out
lies in `data/`, beside `providers.json` and `handwritten.json`, which people write and this reads: `models.jsonl` and
`offers.jsonl`, one row a line, sorted, so that a change of the world is a change of a few lines.

Rules, each so that nobody is charged less than the provider charges us:

- A maker's own API is an offer where `providers.json` has it, it takes chat completions, and the maker's list price is
  known. OpenRouter is another, at its own price.
- What OpenRouter's listing leaves out follows the maker: long-context tiers, dearer cache writes and announced rises,
  in the proportion of the two prices and rounded up to a nano-dollar per million tokens.
- Audio, files and searches have no price path, so neither their prices nor their capabilities are taken over.
- A cache write that is listed below plain input is the storage alone (Gemini's at OpenRouter): it costs both.
- A daily window without a date belongs to the price that is in force on the day of the facts.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any

from routing.catalog.convert_voice import voice_rows

DATA = Path(__file__).parent / "data"
PER_MILLION = 10**6
NANO = Decimal("0.000000001")
BUCKETS = ("input", "cache_read", "cache_write", "cache_write_1h", "output")
CAPABILITIES = {"tools": "tools", "structured_output": "json_schema", "reasoning": "reasoning"}
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
DATED_BY = {"openai": "%Y-%m-%d", "anthropic": "%Y%m%d"}  # how makers write the day of release into a name
MISTRAL_VERSION = re.compile(r"-(\d{4}|\d+-\d+)$")
CHAT = "/v1/chat/completions"
UNSTATED_OUTPUT = 32_768  # where the facts name no longest answer
MARKET = "openrouter"

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that goes in: the models of the folder, what people wrote, and the names of the providers there are."""

    as_of: str
    models: list[Json]
    hand: Json
    providers: frozenset[str]
    voices: list[Json]


def read_facts(folder: Path, data: Path = DATA) -> Facts:
    """From a folder of facts and the files written by hand."""
    given = json.loads((folder / "models.json").read_text())
    providers = json.loads((data / "providers.json").read_text())
    hand = json.loads((data / "handwritten.json").read_text())
    others = json.loads((folder / "other_models.json").read_text())
    names = frozenset(row["name"] for row in providers)
    return Facts(given["as_of"], given["models"], hand, names, others["models"])


def convert(facts: Facts) -> tuple[list[Json], list[Json]]:
    """The rows of `models.jsonl` and of `offers.jsonl`."""
    kept = [model for model in facts.models if model["id"] not in facts.hand["left_out"]]
    heads = {model["line_head"] for model in kept if model.get("line_head")}
    models = [_model(model, facts, is_head=model["id"] in heads or not model.get("line_head")) for model in kept]
    offers = [offer for model in kept for offer in _offers(model, facts)]
    for row in facts.hand["retired"]:
        models.append(_without_nothing({**_retired_model(row), "aliases": facts.hand["aliases"].get(row["id"], [])}))
        offers.append(_retired_offer(row))
    voices, voice_offers = voice_rows(facts.voices, facts.hand["voice"], facts.as_of)
    models, offers = models + voices, offers + voice_offers
    return sorted(models, key=lambda row: row["id"]), sorted(offers, key=lambda row: (row["model"], row["provider"]))


def files_of(facts: Facts) -> dict[str, str]:
    """Name -> text of each file that is made."""
    models, offers = convert(facts)
    return {
        "as_of.txt": f"{facts.as_of}\n",
        "models.jsonl": _lines(models),
        "offers.jsonl": _lines(offers),
    }


def _lines(rows: Iterable[Json]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _without_nothing(row: Json) -> Json:
    return {name: value for name, value in row.items() if value not in (None, [], {})}


def _model(model: Json, facts: Facts, *, is_head: bool) -> Json:
    sunset = model.get("deprecation_date")
    row = {
        "id": model["id"],
        "name": model["name"],
        "family": model["family"],
        "line": model.get("line_head") or model["id"],
        "released": model.get("release_date"),
        "deprecated": sunset and min(sunset, facts.as_of),  # known on that day at the latest
        "sunset": sunset,
        "successor": model.get("successor"),
        "successor_named_by": _named_by(model.get("successor_basis")),
        "inputs": model["modalities"]["input"],
        "outputs": model["modalities"]["output"],
        "aliases": _aliases(model, facts, is_head=is_head),
    }
    return _without_nothing(row)


def _named_by(basis: str | None) -> str | None:
    if basis is None:
        return None
    return "provider" if basis == "named by the provider" else "line"


def _aliases(model: Json, facts: Facts, *, is_head: bool) -> list[str]:
    """Names that no rule of `routing.catalog.aliases` makes of the id."""
    maker, _, own = model["id"].partition("/")
    found: dict[str, None] = dict.fromkeys(facts.hand["aliases"].get(model["id"], ()))
    native = model.get("native", {}).get("model", "")
    if native and _fold(native) not in {_fold(own), _fold(model["id"])}:
        found[native] = None
    pattern = DATED_BY.get(maker)
    if pattern and model.get("release_date"):
        year, month, day = model["release_date"].split("-")
        found[f"{own}-{pattern.replace('%Y', year).replace('%m', month).replace('%d', day)}"] = None
    if maker == "mistralai" and is_head and MISTRAL_VERSION.search(own):
        found[MISTRAL_VERSION.sub("-latest", own)] = None
    return sorted(name for name in found if name not in facts.hand["not_aliases"])


def _fold(name: str) -> str:
    return name.lower().replace(".", "-").replace("_", "-")


def _offers(model: Json, facts: Facts) -> Iterable[Json]:
    native = model.get("native", {})
    unwanted = {row["provider"] for row in facts.hand["not_offered"] if row["model"] == model["id"]}
    own_price = model["pricing"]["basis"] == "provider list price"
    provider = native.get("provider")
    speaks_chat = not model.get("endpoints") or CHAT in model["endpoints"]
    if own_price and speaks_chat and provider in facts.providers - unwanted:
        prices = _schedule(model, facts, weekdays_only=provider in facts.hand["weekdays_only"])
        yield _offer(model, provider, native["model"], prices)
    if model.get("openrouter_pricing") and MARKET not in unwanted:
        prices = _market_schedule(model, facts) if own_price else _schedule(model, facts)
        yield _offer(model, MARKET, model["id"], prices)


def _offer(model: Json, provider: str, upstream: str, prices: list[Json]) -> Json:
    context = model["context_length"]
    row = {
        "model": model["id"],
        "provider": provider,
        "upstream": upstream,
        "context": context,
        "max_output": model.get("max_output_tokens") or min(context, UNSTATED_OUTPUT),
        "capabilities": _capabilities(model, provider),
        "quirks": _quirks(model, provider),
        "prices": prices,
    }
    return _without_nothing(row)


def _capabilities(model: Json, provider: str) -> list[str]:
    """What the facts say and the path can bill; unknown is no."""
    supports, quirks = model["supports"], model.get("quirks") or {}
    found = [ours for theirs, ours in CAPABILITIES.items() if supports.get(theirs)]
    if supports.get("vision") and "image" in model["modalities"]["input"]:
        found.append("vision")
    thinks_at_openai = provider == "openai" and bool(supports.get("reasoning"))
    if thinks_at_openai:  # these refuse `max_tokens`, and sampling whenever they think
        found.append("max_completion_tokens")
    if thinks_at_openai or quirks.get("supports_sampling_params") is False:
        found.append("no_sampling")
    return sorted(found)


def _quirks(model: Json, provider: str) -> Json:
    """`efforts` is followed; the rest are facts for adapters to come. OpenRouter translates efforts itself."""
    facts: Json = dict(model.get("quirks") or {})
    known: list[str] | None = facts.pop("reasoning_effort_levels", None)
    flags = {effort: facts.pop(f"supports_{effort}_reasoning_effort", None) for effort in EFFORTS}
    if known is None and provider == "openai" and any(flag is not None for flag in flags.values()):
        usual = ("low", "medium", "high")
        known = [effort for effort in EFFORTS if effort in usual or flags[effort]]
    found = {} if known is None or provider == MARKET else {"efforts": known}
    return {**found, **({"facts": dict(sorted(facts.items()))} if facts else {})}


def _schedule(model: Json, facts: Facts, *, weekdays_only: bool = False) -> list[Json]:
    """The dated prices of the maker (or of OpenRouter, where the facts know no other), windows behind theirs."""
    rows = model.get("pricing_schedule") or [{"from": None, **model["pricing"]}]
    dated = [row for row in rows if "daily_utc" not in row]
    windows = [row for row in rows if "daily_utc" in row]
    in_force = max((row["from"] for row in dated if row["from"] and row["from"] <= facts.as_of), default=None)
    found = []
    for row in dated:
        found.append(_price(row, row["from"]))
        if row["from"] == in_force:
            found += [
                _without_nothing({**_price(window, in_force), "utc": window["daily_utc"], "mon_fri": weekdays_only})
                for window in windows
            ]
    return found


def _price(row: Json, since: str | None) -> Json:
    price = {bucket: _per_million(row[bucket]) for bucket in BUCKETS if bucket in row}
    return _without_nothing({"from": since, "price": _with_storage(price), "tiers": _tiers(row, price)})


def _tiers(row: Json, price: Mapping[str, str]) -> list[Json]:
    """Whole prices above a number of input tokens; a bucket that no tier names keeps its price."""
    steps: dict[int, dict[str, str]] = {}
    for bucket, tiers in (row.get("tiers") or {}).items():
        for tier in tiers:
            if bucket in BUCKETS:
                steps.setdefault(tier["above_input_tokens"], {})[bucket] = _per_million(tier["price"])
    found, current = [], dict(price)
    for above, changes in sorted(steps.items()):
        current = {**current, **changes}
        found.append({"above": above, "price": _with_storage(current)})
    return found


def _with_storage(price: Mapping[str, str]) -> dict[str, str]:
    """With what is written to a cache paid as input too, where its price is too low to hold that."""
    write = price.get("cache_write")
    if write is None or Decimal(write) >= Decimal(price["input"]):
        return dict(price)
    return {**price, "cache_write": f"{Decimal(write) + Decimal(price['input']):f}"}


def _market_schedule(model: Json, facts: Facts) -> list[Json]:
    """OpenRouter's price today, and what follows from the maker's."""
    maker, market = model["pricing"], model["openrouter_pricing"]
    today = {
        "from": None,
        **{bucket: market[bucket] for bucket in BUCKETS if bucket in market},
        **{
            bucket: maker[bucket]
            for bucket in ("cache_write", "cache_write_1h")
            if bucket not in market and bucket in maker and Decimal(maker[bucket]) > Decimal(market["input"])
        },
    }
    today["tiers"] = _in_proportion(maker.get("tiers") or {}, maker, today)
    rows = [_price(today, None)]
    for coming in model.get("pricing_schedule") or ():
        if (coming.get("from") or "") > facts.as_of:
            dearer = {
                bucket: _scaled(today[bucket], coming[bucket], maker[bucket])
                if bucket in coming and bucket in maker and Decimal(coming[bucket]) > Decimal(maker[bucket])
                else today[bucket]
                for bucket in BUCKETS
                if bucket in today
            }
            dearer["tiers"] = _in_proportion(coming.get("tiers") or {}, coming, dearer)
            rows.append(_price(dearer, coming["from"]))
    return rows


def _in_proportion(tiers: Json, base: Json, ours: Json) -> Json:
    """The maker's tiers on prices of ours."""
    return {
        bucket: [{**step, "price": _scaled(ours[bucket], step["price"], base[bucket])} for step in steps]
        for bucket, steps in tiers.items()
        if bucket in ours
    }


def _scaled(ours: str, theirs: str, base: str) -> str:
    """`ours` x `theirs` / `base`, per token, rounded up to what a price can be."""
    if Decimal(ours) == Decimal(base):
        return theirs
    exact = Decimal(ours) * Decimal(theirs) / Decimal(base) * PER_MILLION
    return f"{exact.quantize(NANO, ROUND_UP) / PER_MILLION:f}"


def _per_million(per_token: str) -> str:
    """US dollars per million tokens, exact where they are whole nano-dollars, else rounded up."""
    dollars = (Decimal(per_token) * PER_MILLION).quantize(NANO, ROUND_UP)
    text = f"{dollars:f}".rstrip("0").rstrip(".")
    return text or "0"


def _retired_model(row: Json) -> Json:
    names = ("id", "name", "family", "line", "released", "deprecated", "sunset", "successor")
    return {name: row[name] for name in names}


def _retired_offer(row: Json) -> Json:
    own = row["id"].partition("/")[2]
    names = ("context", "max_output")
    return {
        "model": row["id"],
        "provider": row["provider"],
        "upstream": row["id"] if row["provider"] == MARKET else own,
        **{name: row[name] for name in names},
        "prices": [{"price": row["price"]}],
    }


def main(arguments: list[str] | None = None) -> int:
    """Write the files. The exit code is that of the shell."""
    parser = argparse.ArgumentParser(prog="routing.catalog.convert", description="Make the shipped catalogue.")
    parser.add_argument("--from", dest="folder", type=Path, required=True, metavar="DIR")
    parser.add_argument("--to", dest="data", type=Path, default=DATA, metavar="DIR")
    given = parser.parse_args(arguments)
    for name, text in files_of(read_facts(given.folder)).items():
        (given.data / name).write_text(text)
        sys.stdout.write(f"{given.data / name}: {text.count(chr(10))} lines\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
