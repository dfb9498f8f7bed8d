"""What a call is expected to cost at each offer, and how that is estimated. Amounts are nano-USD, fee included.

    cost = input x price + output x price - (cached prefix x (price - cached price) at the session's last offer)

The input is counted where it was; else it is the text's length times the tokens per character of the glance, which go
by script. The output is log-normal with a median by task, kind of model and effort, corrected by what came of late, and
cut at what is allowed: with X log-normal (m, s) and a limit c,

    E[min(X, c)] = exp(m + s^2/2) F((ln c - m - s^2) / s) + c (1 - F((ln c - m) / s))

where F is the standard normal distribution. Expected costs are whole nano-USD with the 24 bits of a float32: so many
fit into a receipt without a loss, and two costs are the same in both or in neither.
"""

from typing import NamedTuple

import msgspec
import numpy as np

from routing.selection.guesses import ANSWER, GUESSES, SPREAD, THINKING, thinking_factor
from routing.selection.market import Floats, Integers, Market
from routing.selection.sessions import Sticky
from routing.selection.words import TASKS

LATENCY_STEPS_PER_S = 100
LATENCY_STEPS_AT_MOST = 65_535
TABLES_KEPT = 64  # of one state of the live figures, by what a request allows

_CLASSES = {
    "letter": bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B)),
    "digit": bytes(range(0x30, 0x3A)),
    "space": b" ",
    "control": b"\n\r\t",
    "mark": bytes(byte for byte in range(0x21, 0x7F) if not chr(byte).isalnum()),
    # Beyond ASCII the first byte of a character names its script, roughly.
    "latin": bytes(range(0xC2, 0xCC)),
    "two_bytes": bytes(range(0xCC, 0xE0)),  # Greek, Cyrillic, Armenian, Hebrew, Arabic
    "south_asia": b"\xe0\xe1",  # Devanagari to Thai, Georgian
    "symbol": b"\xe2\xef",
    "east_asia": bytes(range(0xE3, 0xEA)),
    "hangul": bytes(range(0xEA, 0xEE)),
    "four_bytes": bytes(range(0xF0, 0xF5)),
}
_WEIGHTS = [(GUESSES.tokens_per_character[name], members) for name, members in _CLASSES.items()]
_WEIGHTS_ASCII = _WEIGHTS[:5]


class InputSize(msgspec.Struct, frozen=True):
    """How much goes in: characters of all messages, their number, bytes of tools and schemas, images and the like."""

    characters: int
    messages: int = 1
    schema_bytes: int = 0
    media: int = 0


def tokens_of(text: str) -> float:
    """About how many tokens a common tokenizer makes of this text."""
    raw = text.encode("utf-8", "surrogatepass")
    size = len(raw)
    weights = _WEIGHTS_ASCII if size == len(text) else _WEIGHTS
    return sum(weight * (size - len(raw.translate(None, members))) for weight, members in weights)


def estimate_input(glance: str, size: InputSize) -> int:
    """Input tokens, from the script of the glance and the length of the whole. At least 1."""
    per_character = tokens_of(glance) / len(glance) if glance else GUESSES.tokens_per_character["letter"]
    tokens = (
        size.characters * per_character
        + size.messages * GUESSES.tokens_per_message
        + size.schema_bytes * GUESSES.tokens_per_schema_byte
        + size.media * GUESSES.tokens_per_medium
    )
    return max(1, round(tokens))


class Lengths:
    """Expected output of every candidate for every task type, from the guesses and a correction each."""

    def __init__(self, market: Market, log_correction: Floats | None = None) -> None:
        """`log_correction` [models, tasks]: the logarithm of what is measured over what is guessed."""
        self._factor = 1.0 if log_correction is None else np.exp(log_correction)
        self._is_thinker = market.is_thinker[:, np.newaxis]
        self._limit = market.max_output.astype(np.float64)
        self._tables: dict[tuple[float, int | None], Floats] = {}

    def expected(self, effort: str | None, limit: int | None) -> Floats:
        """Tokens of one choice, float64 [models, tasks]; `limit` is what the request allows."""
        key = (thinking_factor(effort), limit)
        table = self._tables.get(key)
        if table is None:
            if len(self._tables) >= TABLES_KEPT:
                self._tables.clear()
            table = self._tables[key] = self._table(*key)
        return table

    def _table(self, thinking: float, limit: int | None) -> Floats:
        median = (ANSWER + np.where(self._is_thinker, thinking * THINKING, 0.0)) * self._factor
        log_median = np.log(median)
        cut = self._limit if limit is None else np.minimum(self._limit, limit)
        log_cut = np.log(np.maximum(cut, 1.0))[:, np.newaxis]
        below = np.exp(log_median + SPREAD**2 / 2) * _normal((log_cut - log_median - SPREAD**2) / SPREAD)
        return below + cut[:, np.newaxis] * (1 - _normal((log_cut - log_median) / SPREAD))


def _normal(x: Floats) -> Floats:
    """The standard normal distribution to 1.4e-4 (Bowling et al. 2009), which has no special function in numpy."""
    return 1 / (1 + np.exp(-np.clip(1.5976 * x + 0.07056 * x**3, -60, 60)))


class Expected(NamedTuple):
    """Of every offer, for one request. The costs are one array where no discount applies."""

    costs: Floats  # whole nano-USD, float32, with the discount of a session's cached prefix
    plain: Floats  # the same without it
    latencies: Integers  # 0.01 s until the whole answer is there, uint16


class Outlook:
    """What requests that allow the same output may expect of a market's offers.

    Cost and latency are linear in the task posterior and in the input tokens, so all of them are one product of a
    matrix with the posterior, and one row of input prices.
    """

    def __init__(self, market: Market, output: Floats, first_content_s: Floats, tokens_per_s: Floats) -> None:
        """`output` is tokens of all choices [models, tasks]; the rest are rows over the offers."""
        self._market = market
        self._output = output[market.model_of]
        latencies_s = first_content_s[:, np.newaxis] + self._output / tokens_per_s[:, np.newaxis]
        self._latencies = latencies_s * LATENCY_STEPS_PER_S
        self._products: dict[int, Floats] = {}  # by the step of the prices' tiers

    def expect(self, tasks: Floats, input_tokens: int, session: Sticky | None) -> Expected:
        """For a request with this task posterior, in the conversation of `session`."""
        market = self._market
        step = market.rates_step(input_tokens)
        rates = market.rates_of(step)
        product = self._products.get(step)
        if product is None:
            costs = rates.output[:, np.newaxis] * self._output
            product = self._products[step] = np.vstack([costs, self._latencies])
        both = product.dot(tasks)
        full = both[: len(market.offers)]
        full += rates.input * input_tokens
        np.rint(both, out=both)
        plain = full.astype(np.float32)
        latencies = np.minimum(both[len(full) :], LATENCY_STEPS_AT_MOST).astype(np.uint16)
        offer = None if session is None else market.offer_index.get((session.provider, session.model))
        if session is None or offer is None:
            return Expected(plain, plain, latencies)
        saved = (rates.input[offer] - rates.cached[offer]) * cached_tokens(session, input_tokens)
        if saved <= 0:
            return Expected(plain, plain, latencies)
        lowered = plain.copy()
        lowered[offer] = round(full[offer] - saved)
        return Expected(lowered, plain, latencies)


def cached_tokens(session: Sticky, input_tokens: int) -> float:
    """How many input tokens are expected to be read from the provider's cache."""
    prefix = min(session.prefix_tokens, input_tokens)
    return prefix * GUESSES.prefix_cache.found_share if prefix >= GUESSES.prefix_cache.smallest_tokens else 0.0


TASK_UNKNOWN = np.eye(len(TASKS), dtype=np.float32)[TASKS.index("other")]  # the posterior of a request nobody read
