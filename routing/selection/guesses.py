"""The figures of data/guesses.json: what is assumed until live traffic says better. Checked as they are read."""

from pathlib import Path

import msgspec
import numpy as np

from routing.selection.words import TASKS

FILE = Path(__file__).parent / "data" / "guesses.json"


class Length(msgspec.Struct, frozen=True):
    """Output of one task type: median tokens, and the standard deviation of the sum's logarithm."""

    answer: float
    thinking: float
    spread: float


class PrefixCache(msgspec.Struct, frozen=True):
    """What providers keep of a conversation's prefix."""

    smallest_tokens: int
    found_share: float
    life_s: int


class Latency(msgspec.Struct, frozen=True):
    """Of an offer that nothing is known about."""

    first_content_s: float
    tokens_per_s: float


class Guesses(msgspec.Struct, frozen=True):
    """The whole file."""

    about: list[str]
    tasks: dict[str, Length]
    effort: dict[str, float]
    default_effort: str
    prefix_cache: PrefixCache
    latency: Latency
    tokens_per_character: dict[str, float]
    tokens_per_message: float
    tokens_per_schema_byte: float
    tokens_per_medium: float


GUESSES = msgspec.json.decode(FILE.read_bytes(), type=Guesses)

ANSWER = np.array([GUESSES.tasks[task].answer for task in TASKS])
THINKING = np.array([GUESSES.tasks[task].thinking for task in TASKS])
SPREAD = np.array([GUESSES.tasks[task].spread for task in TASKS])


def thinking_factor(effort: str | None) -> float:
    """What a `reasoning_effort` multiplies the thinking by; an unknown one counts as the default."""
    default = GUESSES.effort[GUESSES.default_effort]
    return default if effort is None else GUESSES.effort.get(effort, default)


def median_tokens(task: str, effort: str | None, *, thinks: bool) -> float:
    """The median output that is assumed for this task type."""
    length = GUESSES.tasks[task]
    return length.answer + (thinking_factor(effort) * length.thinking if thinks else 0.0)
