"""Hard filters: what may be chosen at all, as set logic, never scored.

A filter is a row of `FILTERS`: a name, the offers that pass it, and what a receipt says of a model that does not. A
model is filtered when none of its offers passes all of them, and what it is told is the first filter at which it had
none left. To add a filter (a data policy, a price ceiling), append a row: receipts hold its position, so the order of
those that are there never changes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from komilion.common.errors import (
    BadRequest,
    ContextLengthExceeded,
    KomilionError,
    ModelNotAllowed,
    ProviderUnavailable,
)
from routing.selection.market import Market, ModelFacts

ROOM_FOR_OUTPUT_TOKENS = 256  # of a request that does not say how long the answer may be


class Needs(msgspec.Struct, frozen=True):
    """What one request asks of a model, and who asks."""

    input_tokens: int  # estimated, or counted where it was
    max_output_tokens: int | None = None  # of one choice
    choices: int = 1
    effort: str | None = None  # the `reasoning_effort` asked for
    capabilities: frozenset[str] = frozenset()  # tools, vision, json_schema, reasoning, audio, files
    allowed: frozenset[str] | None = None  # model ids that the key may call; None: all
    open_offers: frozenset[tuple[str, str]] = frozenset()  # (provider, model id) whose breaker is open

    @property
    def context_tokens(self) -> int:
        """What must fit into the context window."""
        room = ROOM_FOR_OUTPUT_TOKENS if self.max_output_tokens is None else self.max_output_tokens
        return self.input_tokens + room


@dataclass(frozen=True, slots=True)
class Filter:
    """One hard filter. `at_fault` is who has to change something when it leaves nothing: request, key or provider."""

    name: str
    passing: Callable[[Market, Needs], int]
    why: Callable[[ModelFacts, int], str]  # from the tokens that the context must take
    at_fault: Literal["request", "key", "provider"]
    param: str | None = None


def _context(market: Market, needs: Needs) -> int:
    return market.taking(needs.context_tokens)


def _allowed(market: Market, needs: Needs) -> int:
    return market.everything if needs.allowed is None else market.allowed(needs.allowed)


def _closed_breakers(market: Market, needs: Needs) -> int:
    return market.everything & ~market.named(needs.open_offers) if needs.open_offers else market.everything


def _capability(name: str, why: str, param: str) -> Filter:
    def passing(market: Market, needs: Needs) -> int:
        return market.capable.get(name, 0) if name in needs.capabilities else market.everything

    return Filter(name, passing, lambda _facts, _tokens: why, "request", param)


FILTERS: tuple[Filter, ...] = (
    Filter("context", _context, lambda facts, tokens: f"context {tokens} > {facts.context_length}", "request"),
    _capability("tools", "no tools", "tools"),
    _capability("vision", "no image input", "messages"),
    _capability("json_schema", "no JSON schema output", "response_format"),
    _capability("reasoning", "no reasoning", "reasoning_effort"),
    _capability("audio", "no audio input", "messages"),
    _capability("files", "no file input", "messages"),
    Filter("allowed", _allowed, lambda _facts, _tokens: "not allowed by the key", "key", "model"),
    Filter("breaker", _closed_breakers, lambda _facts, _tokens: "its provider is failing", "provider"),
)


class Filtered(msgspec.Struct, frozen=True):
    """What is left: `bits` are the feasible offers, `steps` what was left after each filter."""

    market: Market
    needs: Needs
    bits: int
    steps: tuple[int, ...]

    def codes(self) -> list[int]:
        """Of every candidate: 0 if it is feasible, else 1 + the position of the first filter that left it no offer."""
        steps = [
            (code, left)
            for code, (left, before) in enumerate(zip(self.steps, (-1, *self.steps), strict=False), start=1)
            if left != before
        ]
        codes = []
        for offers in self.market.offer_bits:
            found = 0
            if not offers & self.bits:
                for code, left in steps:
                    if not offers & left:
                        found = code
                        break
            codes.append(found)
        return codes

    def reasons(self) -> dict[str, str]:
        """Every excluded model with the words of a receipt, e.g. "filtered: context 131072 > 128000"."""
        pairs = zip(self.codes(), self.market.facts.models, strict=True)
        return {model.id: verdict(code, model, self.needs.context_tokens) for code, model in pairs if code}


def feasible(market: Market, needs: Needs) -> Filtered:
    """Apply every filter. What is left may be empty; `require_some` makes an error of that."""
    left = market.everything
    steps = []
    for rule in FILTERS:
        left &= rule.passing(market, needs)
        steps.append(left)
    return Filtered(market, needs, left, tuple(steps))


def verdict(code: int, facts: ModelFacts, context_tokens: int) -> str:
    """What a receipt says of a model that the filter with this code excluded."""
    return f"filtered: {FILTERS[code - 1].why(facts, context_tokens)}"


def require_some(filtered: Filtered) -> None:
    """Raise what an empty set means, naming the filters at fault.

    400 where no model of the catalogue could serve the request, whoever asks; 403 where some could and the key may
    call none of them; 503 where those are only failing at the moment, or where nothing can be called at all.
    """
    if filtered.bits:
        return
    market = filtered.market
    if not market.everything:
        raise ProviderUnavailable("No model can be called: no provider is switched on.")
    for fault, error in (("request", _no_model), ("key", _none_allowed), ("provider", _all_failing)):
        passing = _passing(filtered, fault)
        if not _all_of(market, passing):
            raise error(filtered, _guilty(market, passing))


def _passing(filtered: Filtered, fault: str) -> dict[Filter, int]:
    """The filters up to this kind of fault, each with the offers that pass it alone."""
    kinds = ("request", "key", "provider")
    kept = kinds[: kinds.index(fault) + 1]
    return {rule: rule.passing(filtered.market, filtered.needs) for rule in FILTERS if rule.at_fault in kept}


def _all_of(market: Market, passing: dict[Filter, int]) -> int:
    left = market.everything
    for bits in passing.values():
        left &= bits
    return left


def _guilty(market: Market, passing: dict[Filter, int]) -> list[Filter]:
    """The filters without any one of which something would be left; where there is none, all that exclude anything."""
    alone = [rule for rule in passing if _all_of(market, {r: bits for r, bits in passing.items() if r is not rule})]
    return alone or [rule for rule, bits in passing.items() if bits != market.everything]


def _no_model(filtered: Filtered, guilty: list[Filter]) -> KomilionError:
    largest = max(model.context_length for model in filtered.market.facts.models)
    tokens = filtered.needs.context_tokens
    words = [
        f"context ({tokens} tokens with the output asked for; the largest takes {largest})"
        if rule.name == "context"
        else rule.name
        for rule in guilty
    ]
    message = f"No model of the catalogue can serve this request. Filters at fault: {', '.join(words)}."
    names = {"filters": [rule.name for rule in guilty]}
    if names["filters"] == ["context"]:
        return ContextLengthExceeded(message, param="messages", extra=names)
    return BadRequest(message, param=next((rule.param for rule in guilty if rule.param), None), extra=names)


def _none_allowed(_filtered: Filtered, guilty: list[Filter]) -> KomilionError:
    names = [rule.name for rule in guilty]
    return ModelNotAllowed(
        f"None of the models that this key may call can serve this request. Filters at fault: {', '.join(names)}.",
        param="model",
        extra={"filters": names},
    )


def _all_failing(_filtered: Filtered, guilty: list[Filter]) -> KomilionError:
    names = [rule.name for rule in guilty]
    return ProviderUnavailable(
        "Every model that could serve this request is failing at its provider at the moment; try again in a few"
        f" seconds. Filters at fault: {', '.join(names)}.",
        extra={"filters": names},
    )
