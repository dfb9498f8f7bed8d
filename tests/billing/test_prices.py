"""The one formula of what a call costs, against exact fractions."""

from dataclasses import replace
from fractions import Fraction
from math import ceil
from types import SimpleNamespace

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from billing.actions.prices import do_record_price, do_record_prices
from billing.prices import INPUT_BUCKETS, OUTPUT_BUCKETS, PriceVersion, UnpricedUsage
from komilion.common.usage import PRICED_BUCKETS, Usage
from tests.billing.ledger_database import LedgerDatabase

THRESHOLDS = [1_000, 50_000]
figures = st.integers(0, 10**12)
tokens = st.integers(0, 100_000)
components = st.fixed_dictionaries(dict.fromkeys(PRICED_BUCKETS, figures))


@st.composite
def price_versions(draw):
    """Every bucket priced, up to two tiers that may be cheaper or dearer, some fee."""
    count = draw(st.integers(0, 2))
    tiers = [(above, draw(components)) for above in THRESHOLDS[:count]]
    return PriceVersion(1, draw(components), tiers, draw(st.integers(0, 10_000)))


usages = st.builds(Usage, **dict.fromkeys(PRICED_BUCKETS, tokens), reasoning=tokens)


@given(price_versions(), usages)
def test_cost_and_fee_are_rounded_up_once_each(price, usage):
    chosen = price.components
    for above, dearer in price.tiers:
        if usage.total_input > above:
            chosen = dearer
    exact = sum((Fraction(getattr(usage, name) * chosen[name], 10**6) for name in PRICED_BUCKETS), Fraction())
    charge = price.charge(usage)
    assert charge.cost == ceil(exact)
    assert charge.fee == ceil(Fraction(charge.cost * price.fee_basis_points, 10_000))
    assert charge.charge == charge.cost + charge.fee


@given(price_versions(), usages, st.sampled_from(PRICED_BUCKETS), tokens)
def test_more_of_a_bucket_never_costs_less_within_a_tier(price, usage, bucket, more):
    flat = replace(price, tiers=[])
    dearer = msgspec.structs.replace(usage, **{bucket: getattr(usage, bucket) + more})
    assert flat.charge(dearer).charge >= flat.charge(usage).charge


@given(price_versions(), st.data())
def test_no_call_within_the_bounds_is_charged_more_than_the_ceiling(price, data):
    used = {}
    for buckets in (INPUT_BUCKETS, OUTPUT_BUCKETS):
        for bucket in buckets:
            used[bucket] = data.draw(st.integers(0, 40_000))
    usage = Usage(**used)
    input_bound = usage.total_input + data.draw(st.integers(0, 40_000))
    output_bound = usage.total_output + data.draw(st.integers(0, 40_000))
    assert price.charge(usage).charge <= price.ceiling(input_bound, output_bound)


@given(price_versions(), tokens, tokens, tokens, tokens)
def test_the_ceiling_grows_with_its_bounds(price, input_tokens, output_tokens, more_input, more_output):
    least = price.ceiling(input_tokens, output_tokens)
    assert price.ceiling(input_tokens + more_input, output_tokens + more_output) >= least


@given(price_versions(), st.integers(0, 10**13), tokens)
def test_an_amount_pays_for_exactly_so_many_output_tokens(price, amount, input_tokens):
    count = price.output_tokens_for(amount, input_tokens)
    if price.ceiling(input_tokens, 1) == price.ceiling(input_tokens, 10**9):
        assert count == 2**31, "output is free"
    elif price.ceiling(input_tokens, 0) > amount:
        assert count == 0
    else:
        assert price.ceiling(input_tokens, count) <= amount < price.ceiling(input_tokens, count + 1)


def flat_price(**figures_by_bucket: int) -> PriceVersion:
    return PriceVersion(1, figures_by_bucket, [], 2_500)


def test_the_published_example_is_charged_to_the_nano_dollar():
    price = flat_price(input=3_000_000_000, output=15_000_000_000)  # $3.00 and $15.00 per million
    charge = price.charge(Usage(input=1_000, output=100))
    assert (charge.cost, charge.fee, charge.charge) == (4_500_000, 1_125_000, 5_625_000)


def test_a_single_cheap_token_is_never_free():
    charge = flat_price(input=1, output=1).charge(Usage(output=1))
    assert (charge.cost, charge.fee) == (1, 1)


def test_the_last_tier_whose_threshold_is_exceeded_prices_the_whole_call():
    price = PriceVersion(1, {"input": 10**6, "output": 0}, [(10, {"input": 2 * 10**6, "output": 0})], 0)
    assert price.charge(Usage(input=10)).cost == 10
    assert price.charge(Usage(input=11)).cost == 22
    assert price.charge(Usage(input=6, cache_read=5)).cost == 22, "cached input counts towards the threshold"


@pytest.mark.parametrize("bucket", ["output", "input_audio", "output_audio", "web_searches"])
def test_a_bucket_without_a_price_is_refused(bucket):
    price = flat_price(input=1) if bucket == "output" else flat_price(input=1, output=1)
    with pytest.raises(UnpricedUsage, match=f"no price for {bucket}"):
        price.charge(Usage(**{bucket: 1}))


def test_a_bucket_that_was_not_used_needs_no_price():
    assert flat_price(input=10**6).charge(Usage(input=5)).cost == 5


@pytest.mark.parametrize("bucket", ["cache_read", "cache_write", "cache_write_1h"])
def test_cached_input_without_a_price_of_its_own_costs_what_input_costs(bucket):
    assert flat_price(input=10**6, output=1).charge(Usage(**{bucket: 7})).cost == 7
    assert flat_price(**{"input": 10**6, bucket: 0}).charge(Usage(**{bucket: 7})).cost == 0
    with pytest.raises(UnpricedUsage):
        flat_price(output=1).charge(Usage(**{bucket: 1}))


def test_a_price_is_read_from_its_row():
    row = SimpleNamespace(
        pk=7, components={"input": 1}, tiers=[{"above_input": 5, "components": {"input": 2}}], fee_basis_points=100
    )
    assert PriceVersion.from_row(row) == PriceVersion(7, {"input": 1}, [(5, {"input": 2})], 100)


def test_the_same_price_is_recorded_once(ledger: LedgerDatabase):
    first = do_record_price({"input": 1, "output": 2})
    assert do_record_price({"output": 2, "input": 1}).pk == first.pk
    assert do_record_price({"input": 1, "output": 3}).pk != first.pk
    tier = {"above_input": 5, "components": {"input": 2, "output": 2}}
    tiered = do_record_price({"input": 1, "output": 2}, [tier])
    assert tiered.pk != first.pk
    same = ({"output": 2, "input": 1}, ())
    new, *rest = do_record_prices(
        [({"input": 9}, ()), same, ({"input": 1, "output": 2}, [(5, tier["components"])]), same]
    )
    assert rest == [first.pk, tiered.pk, first.pk]
    assert do_record_price({"input": 9}).pk == new
