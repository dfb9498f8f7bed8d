"""docs/money.md: its examples are recomputed, its tables are those of the code."""

import re
from fractions import Fraction
from pathlib import Path

from billing.ledger.decide import MOVES, Books
from billing.ledger.items import LotState, Settle, WalletState
from billing.models import Account, HoldState, LedgerEntry
from billing.prices import PriceVersion
from komilion import settings
from komilion.common.money import format_usd, parse_usd
from komilion.common.usage import PRICED_BUCKETS, Usage
from routing.gateway.count_tokens import (
    LETTERS_PER_TOKEN,
    MARGIN_PERCENT,
    TOKENS_PER_MEDIUM,
    TOKENS_PER_MESSAGE,
    TOKENS_PER_REQUEST,
    tokens_per_medium,
)

PAGE = (Path(__file__).parents[2] / "docs" / "money.md").read_text()
BLOCKS = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


def example(first_words: str) -> dict[str, str]:
    """The fenced block with these words in it: what stands left of the gap -> what stands right of it."""
    (block,) = (block for block in BLOCKS if first_words in block)
    return dict(re.findall(r"^(\S.*?) {2,}(\S.*)$", block, re.MULTILINE))


def named(values: str) -> dict[str, str]:
    """`input 0.075   output 0.30` as a dictionary."""
    words = values.split()
    return dict(zip(words[::2], words[1::2], strict=True))


def price_of(values: str) -> PriceVersion:
    components = {bucket: parse_usd(usd) for bucket, usd in named(values).items()}
    return PriceVersion(1, components, [], settings.FEE_BASIS_POINTS)


def rows_below(heading: str) -> list[list[str]]:
    """The cells of the first table after these words, without its head."""
    table = re.search(r"^\|.*?(?=\n\n)", PAGE.partition(heading)[2], re.MULTILINE | re.DOTALL)
    assert table is not None
    lines = table.group().splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def test_the_worked_example_of_a_charge():
    stated = example("sum of units x price")
    price = price_of(stated["price, US dollars per million"])
    units = {bucket: int(count) for bucket, count in named(stated["usage, tokens"]).items()}
    total = sum(Fraction(count * price.components[bucket], 10**6) for bucket, count in units.items())
    assert total == Fraction(stated["sum of units x price / 10^6"])
    assert total.denominator > 1, "an example that shows no rounding"
    charge = price.charge(Usage(**units))
    assert str(charge.cost) == stated["provider cost, nano-USD"]
    assert str(charge.fee) == stated["fee, nano-USD"]
    assert str(charge.charge) == stated["charge, nano-USD"]
    assert format_usd(charge.charge) == stated["charge, US dollars"]


def test_the_worked_example_of_a_hold():
    stated = example("covered to start")
    price = price_of(stated["price, US dollars per million"])
    request = {name: int(number) for name, number in named(stated["request"]).items()}
    least_output = min(request["max_tokens"], settings.START_OUTPUT_TOKENS)
    assert format_usd(price.ceiling(request["bytes"], least_output)) == stated["covered to start"]
    assert format_usd(price.ceiling(request["bytes"], request["max_tokens"])) == stated["held"]


def test_the_worked_example_of_a_settlement():
    stated = example("promo -> provider_cost")
    before = {name: parse_usd(usd) for name, usd in named(stated["before"]).items()}
    due = {name: parse_usd(usd) for name, usd in named(stated["charge"]).items()}
    lots = [LotState(1, before["promo"])]
    books = Books()
    wallet = books.wallets[1] = WalletState(1, before["paid"] + before["promo"], 0, **before, debt=0, lots=lots)
    books.settle(Settle("gen-1", 1, 0, due["cost"], due["fee"], [1], "p-1", {}), entry_id=1)
    moved = {f"{row['source']} -> {row['target']}": format_usd(row["amount_nano"]) for row in books.changes.postings}
    assert moved == {label: usd for label, usd in stated.items() if " -> " in label}
    assert named(stated["after"]) == {"paid": format_usd(wallet.paid), "promo": format_usd(wallet.promo)}


def test_the_movements_are_those_of_the_ledger():
    assert {kind: (source, target) for kind, source, target, _ in rows_below("**Movements of money.**")} == MOVES


def test_every_account_is_listed():
    assert [row[0] for row in rows_below("## The ledger")] == Account.values


def test_every_kind_of_entry_is_listed():
    calls = [row[0] for row in rows_below("**Entries of calls.**")]
    assert {*calls, *MOVES} == set(LedgerEntry.Kind.values)


def test_every_state_of_a_hold_is_drawn():
    (drawing,) = (block for block in BLOCKS if "place ---->" in block)
    assert all(re.search(rf"\b{state}\b", drawing) for state in HoldState.values)


def test_every_bucket_is_named():
    sentence = PAGE.partition("buckets that do not overlap:")[2].partition(".")[0]
    assert tuple(re.findall(r"`(\w+)`", sentence)) == PRICED_BUCKETS


def test_the_figures_in_the_text_are_those_in_force():
    text = " ".join(PAGE.split())
    assert f"the fee is {settings.FEE_BASIS_POINTS:,} basis points, {settings.FEE_BASIS_POINTS // 100} %" in text
    assert f"the first {settings.START_OUTPUT_TOKENS} output tokens" in text
    assert f"up to {settings.STREAM_HOLD_OUTPUT_TOKENS:,} output tokens" in text
    assert f"makes of it plus {MARGIN_PERCENT} %" in text
    assert f"a token for every {LETTERS_PER_TOKEN} letters of a word" in text
    assert f"{TOKENS_PER_MESSAGE} tokens for each text, {TOKENS_PER_REQUEST} for the request" in text
    assert f"{tokens_per_medium('openai/gpt-4o-mini'):,} tokens for `openai/gpt-4o-mini`" in text
    assert f"{tokens_per_medium('anthropic/claude-opus-5'):,} for Claude" in text
    assert f"else {TOKENS_PER_MEDIUM:,} tokens" in text
