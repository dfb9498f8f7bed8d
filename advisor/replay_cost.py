"""What it costs to put evaluation cases to both models of an upgrade, said before it happens. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from advisor.cases import ANSWER_TOKENS_MOST, CASES_MOST
from advisor.models import EvaluationCase
from billing.prices import UNITS_PER_PRICE
from komilion.common.money import ceil_div
from routing.selection.models import Pin

BYTES_PER_TOKEN = 3  # of a prompt; most languages have more
MODELS = 2  # that answer each case


@dataclass(frozen=True, slots=True)
class Replay:
    """All cases of a pin's task type at both models, at the prices of its ceiling and with the longest answers."""

    task: str
    cases: int
    most_nano: int  # about, with the fee


def replays_of(cases: Iterable[EvaluationCase], pins: Iterable[Pin]) -> list[Replay]:
    """One for each pin that has cases and a ceiling: what the pinned model cost, unless somebody has moved it."""
    prompts: defaultdict[str, list[str]] = defaultdict(list)
    for case in sorted(cases, key=lambda case: case.pk):
        prompts[case.task].append(case.prompt)
    replays = []
    for pin in pins:
        asked = prompts[pin.task][:CASES_MOST]
        if asked and pin.ceiling:
            read = sum(ceil_div(len(prompt.encode()), BYTES_PER_TOKEN) for prompt in asked)
            written = len(asked) * ANSWER_TOKENS_MOST
            nano = read * pin.ceiling.get("input", 0) + written * pin.ceiling.get("output", 0)
            replays.append(Replay(pin.task, len(asked), ceil_div(MODELS * nano, UNITS_PER_PRICE)))
    return replays
