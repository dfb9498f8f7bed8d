"""Expected cost: input, output, tiers, fee and the cached prefix."""

import math
import random

import bpe_openai
import numpy as np
import pytest

from komilion.common.usage import Usage
from routing.selection.choose import choose
from routing.selection.cost import InputSize, Lengths, Outlook, estimate_input
from routing.selection.filters import Needs
from routing.selection.guesses import GUESSES, median_tokens, thinking_factor
from routing.selection.market import Market
from routing.selection.savings import savings
from routing.selection.sessions import Sticky
from routing.selection.words import TASKS
from tests.routing.selection.stand_ins import ALL_CAPABILITIES, Row, inputs, market, offer, reading

ENGLISH = "The committee met on Tuesday to discuss the new library, and nobody could agree where it should stand. " * 8
PYTHON = (
    'def total(rows: list[int]) -> int:\n    """Sum."""\n    return sum(row * 2 for row in rows if row > 10)\n\n' * 8
)
RUSSIAN = "Комитет собрался во вторник, чтобы обсудить новую библиотеку, и никто не мог договориться. " * 8
CHINESE = "委员会星期二开会讨论新的图书馆。没有人能就它应该建在哪里达成一致。" * 12
HINDI = "समिति की बैठक मंगलवार को नई पुस्तकालय पर चर्चा करने के लिए हुई। " * 8


def costs(market: Market, needs: Needs, output: float, session: Sticky | None = None) -> list[float]:
    """Expected cost of every offer for this much output."""
    lengths, ones = np.full((len(market.models), len(TASKS)), output * needs.choices), np.ones(len(market.offers))
    expected = Outlook(market, lengths, ones, ones).expect(reading().tasks, needs.input_tokens, session)
    return [float(cost) for cost in expected.costs]


@pytest.mark.parametrize("text", [ENGLISH, PYTHON, RUSSIAN, CHINESE, HINDI], ids=["en", "py", "ru", "zh", "hi"])
def test_the_estimate_is_near_what_a_tokenizer_counts(text: str) -> None:
    counted = len(bpe_openai.get_encoding("o200k_base").encode(text))
    estimated = estimate_input(text[:1_500], InputSize(len(text), messages=0))
    assert 0.6 <= estimated / counted <= 1.5


def test_the_estimate_grows_with_everything_that_is_sent() -> None:
    alone = estimate_input("hello there", InputSize(11))
    assert estimate_input("hello there", InputSize(11, messages=5)) > alone
    assert estimate_input("hello there", InputSize(11, schema_bytes=400)) == alone + 100
    assert estimate_input("hello there", InputSize(11, media=2)) == alone + 2_000
    assert estimate_input("hello there", InputSize(1_100)) > 20 * alone / 5
    assert estimate_input("", InputSize(0, messages=0)) == 1
    assert estimate_input("", InputSize(4_000, messages=0)) == round(4_000 * 0.223)
    assert estimate_input("\ud800", InputSize(1)) >= 1


def test_cost_is_tokens_times_price_with_the_fee() -> None:
    assert costs(market(Row("a/a", input=2_000_000_000, output=10_000_000_000)), Needs(1_000), 500) == [
        (1_000 * 2_000 + 500 * 10_000) * 1.25
    ]


def test_every_choice_is_paid_for() -> None:
    once, thrice = (costs(market(Row("a/a")), Needs(1, choices=n), 100)[0] for n in (1, 3))
    assert thrice - once == 2 * 100 * 4_000 * 1.25


def test_a_tier_holds_above_its_threshold_for_the_whole_call() -> None:
    tiers = ((200_000, {"input": 2_000_000_000, "output": 6_000_000_000}),)
    both = market(Row("a/tiered", tiers=tiers, context=10**6), Row("b/plain", context=10**6))
    at, above = (costs(both, Needs(tokens), 0) for tokens in (200_000, 200_001))
    assert at == [200_000 * 1_250.0] * 2
    assert above[0] == pytest.approx(200_001 * 2_500, rel=1e-6)
    assert above[1] == pytest.approx(200_001 * 1_250, rel=1e-6)


def test_a_cached_prefix_is_cheaper_at_the_offer_that_has_it_and_nowhere_else() -> None:
    row = Row("a/a", input=1_000_000_000, cache_read=100_000_000)
    three = market(row, Row("a/a", "beta", cache_read=100_000_000), Row("b/b", cache_read=100_000_000))
    lowered = costs(three, Needs(10_000), 0, Sticky("a/a", "alpha", 8_000, 0.0))
    saved = 8_000 * GUESSES.prefix_cache.found_share * 900 * 1.25
    assert lowered == [pytest.approx(10_000 * 1_250 - saved), 12_500_000, 12_500_000]


@pytest.mark.parametrize(
    "session",
    [
        Sticky("a/a", "beta", 8_000, 0.0),  # another provider
        Sticky("z/gone", "alpha", 8_000, 0.0),
        Sticky("a/a", "alpha", 1_000, 0.0),  # too short to be cached
        Sticky("b/b", "alpha", 8_000, 0.0),  # has no price for cached input
    ],
)
def test_no_discount_without_a_cache(session: Sticky) -> None:
    two = market(Row("a/a", cache_read=1), Row("b/b"))
    assert costs(two, Needs(10_000), 10, session) == costs(two, Needs(10_000), 10)


def test_a_cached_prefix_is_at_most_the_input() -> None:
    free = market(Row("a/a", cache_read=0))
    cost = costs(free, Needs(2_000), 0, Sticky("a/a", "alpha", 10**6, 0.0))[0]
    assert cost == pytest.approx(2_000 * (1 - GUESSES.prefix_cache.found_share) * 1_250)


@pytest.mark.parametrize("limit", [None, 1, 40, 300, 5_000])
def test_the_expected_length_is_that_of_a_cut_log_normal(limit: int | None) -> None:
    """Against a plain simulation."""
    task = TASKS.index("math")
    table = Lengths(market(Row("a/a", max_output=8_000))).expected(None, limit)
    draw = random.Random(7)
    cut = min(limit or 8_000, 8_000)
    length = GUESSES.tasks["math"]
    drawn = [min(cut, draw.lognormvariate(math.log(length.answer), length.spread)) for _ in range(20_000)]
    assert table[0, task] == pytest.approx(sum(drawn) / len(drawn), rel=0.03)


def test_a_model_that_thinks_writes_more_the_more_effort_is_asked_for() -> None:
    both = market(Row("a/plain"), Row("b/thinks", capabilities=ALL_CAPABILITIES | {"reasoning"}, max_output=10**6))
    efforts = ["none", "minimal", "low", "medium", "high", "xhigh", "max"]
    tables = [Lengths(both).expected(effort, None) for effort in efforts]
    plain, thinks = ([float(table[i, 3]) for table in tables] for i in (0, 1))
    assert len(set(plain)) == 1
    assert thinks == sorted(set(thinks))
    assert thinking_factor("no such effort") == thinking_factor(None) == thinking_factor("medium")
    assert median_tokens("math", "medium", thinks=True) == 1_850
    assert median_tokens("math", "max", thinks=False) == 350


def test_tables_of_lengths_are_bounded_and_made_once() -> None:
    lengths = Lengths(market(Row("a/a")))
    assert lengths.expected(None, 5) is lengths.expected("medium", 5)
    for limit in range(1, 300):
        lengths.expected(None, limit)
    assert len(lengths._tables) <= 64


def test_the_guesses_cover_every_task_and_say_what_they_are() -> None:
    assert set(GUESSES.tasks) == set(TASKS)
    assert "GUESSES" in " ".join(GUESSES.about)


def test_expected_costs_are_whole_and_survive_32_bits() -> None:
    choice = choose(inputs(market(*(Row(f"a/{n}", input=n * 123_456_789, output=n) for n in range(1, 40))), [1.0] * 39))
    for cost in choice.table.costs.tolist():
        assert cost == int(cost) == float(np.float32(cost))


def test_savings_are_what_the_best_would_have_charged_less_the_charge() -> None:
    best = offer(Row("a/best", input=10_000_000_000, output=50_000_000_000)).price
    usage = Usage(input=1_000, output=100)
    assert savings(best, usage, 1_000_000) == (1_000 * 10_000 + 100 * 50_000) * 125 // 100 - 1_000_000
    assert savings(best, usage, 100_000_000) == 18_750_000 - 100_000_000
    assert savings(best, Usage(input=1, web_searches=1), 5) is None
