"""How long a choice takes: CPU of this thread for filter, cost, choice and receipt of 60 candidates."""

import random
import time

import numpy as np
import pytest

from routing.selection.choose import Inputs, choose
from routing.selection.filters import Needs, feasible
from routing.selection.live import Live, LiveView
from routing.selection.offsets import Offsets
from routing.selection.quality import Strengths
from routing.selection.receipt import pack
from routing.selection.sessions import Sticky
from tests.routing.choosing import asked, brain, catalog, offer
from tests.routing.selection.stand_ins import Row, market, reading

ROUNDS = 3_000
PROVIDERS = ("openai", "openrouter", "mistral", "groq", "xai", "deepseek", "google")
REQUESTS = {
    "plain": (Needs(1_000), None),
    "session": (Needs(4_000), Sticky("maker/model-05", "openai", 3_500, 0.0)),
    "filters": (
        Needs(
            40_000,
            2_000,
            effort="high",
            capabilities=frozenset({"tools", "vision"}),
            allowed=frozenset(f"maker/model-{n:02}" for n in range(50)),
            open_offers=frozenset({("openai", "maker/model-07")}),
        ),
        None,
    ),
}


def rows() -> list[Row]:
    """60 models with one to three offers each, a quarter of them with tiers."""
    draw = random.Random(3)
    return [
        Row(
            f"maker/model-{number:02}",
            provider,
            input=(price := draw.randint(20, 10_000) * 1_000_000),
            output=4 * price,
            cache_read=price // 10,
            context=draw.choice((32_000, 128_000, 200_000, 1_000_000)),
            capabilities=frozenset(draw.sample(("tools", "vision", "json_schema", "reasoning"), 3)),
            tiers=((200_000, {"input": 2 * price, "output": 6 * price}),) if number % 4 == 0 else (),
        )
        for number in range(60)
        for provider in draw.sample(PROVIDERS, draw.choice((1, 2, 3)))
    ]


@pytest.mark.perf
@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_choice_takes_a_tenth_of_a_millisecond(request_name: str) -> None:
    here = market(*rows())
    draw = np.random.default_rng(1)
    quality = np.array([draw.normal(1, 1, 60), draw.uniform(0.1, 0.5, 60)], np.float32)
    live, offsets, read = LiveView(here, Live(), 0.0), Offsets().view(here, 0.0), reading()
    needs, session = REQUESTS[request_name]
    taken_us = []
    for _ in range(ROUNDS):
        before = time.thread_time_ns()
        filtered = feasible(here, needs)
        pack(choose(Inputs(filtered, "balanced", read, quality, "w", session=session, live=live, offsets=offsets)))
        taken_us.append((time.thread_time_ns() - before) / 1_000)
    p50, p99 = np.percentile(taken_us, [50, 99])
    print(f"{request_name}: {len(here.offers)} offers, P50 {p50:.0f} us, P99 {p99:.0f} us")
    assert p50 < 200


def prompts() -> dict[str, list[str]]:
    """That of `make bench`, and fifty of 4,000 characters of different words."""
    draw = random.Random(4)
    letters = "etaoinshrdlucmfwypvbgk"
    long = [
        " ".join("".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(800))[:4_000] for _ in range(50)
    ]
    return {"bench": ["What is quantum computing? Explain it in simple terms please."], "long": long}


@pytest.mark.perf
@pytest.mark.parametrize(("name", "at_most_us"), [("bench", 250), ("long", 1_000)])
def test_a_whole_decision_is_within_its_mark(name: str, at_most_us: int) -> None:
    models = list(Strengths.load().models)[:60]
    made = brain(catalog(**{model: [offer(model, 1 + number % 7, 128_000)] for number, model in enumerate(models)}))
    requests = [asked({"messages": [{"role": "user", "content": prompt}]}) for prompt in prompts()[name]]
    taken_us = []
    for number in range(ROUNDS):
        request = requests[number % len(requests)]
        before = time.thread_time_ns()
        assert made.decide(request) is not None
        taken_us.append((time.thread_time_ns() - before) / 1_000)
    p50, p99 = np.percentile(taken_us[100:], [50, 99])
    print(f"{name}: P50 {p50:.0f} us, P99 {p99:.0f} us")
    assert p50 < at_most_us
