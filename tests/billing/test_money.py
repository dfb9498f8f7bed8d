"""Text to nano-dollars and back: exact, or refused."""

from decimal import Decimal
from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import given

from komilion.common.money import (
    MAX_NANO,
    NANO_PER_USD,
    InvalidAmount,
    ceil_div,
    format_percent,
    format_usd,
    parse_usd,
)


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("10.00", 10 * NANO_PER_USD),
        ("0", 0),
        (".5", NANO_PER_USD // 2),
        ("7.", 7 * NANO_PER_USD),
        (" 1.000000001 ", NANO_PER_USD + 1),
        ("0.1000000000000000000000000000000", NANO_PER_USD // 10),
        ("0000000000000000000000000000000001", NANO_PER_USD),
        ("9223372036.854775807", MAX_NANO),
        (Decimal("3.15"), 3_150_000_000),
    ],
)
def test_amounts_are_read_exactly(text, nano):
    assert parse_usd(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", "-1", "+1", "1e3", "1E3", "NaN", "Infinity", "1,5", "1.2.3", "0x10", "1_000", "$5", "٣", "1 0"),
        *("0.0000000001", "9.0000000000000000000000000000000001", "9223372036.854775808", "9" * 30, "9" * 5_000),
        *("0." + "1" * 5_000, Decimal("1E+3"), Decimal("NaN"), Decimal("-0.5")),
    ],
)
def test_everything_else_is_refused(text):
    with pytest.raises(InvalidAmount):
        parse_usd(text)


@given(st.integers(0, MAX_NANO))
def test_what_is_written_reads_back_as_the_same(nano):
    text = format_usd(nano)
    assert parse_usd(text) == nano
    assert "e" not in text.lower()
    assert len(text.partition(".")[2]) >= 2


@given(st.integers(-(2**70), 2**70))
def test_what_is_written_is_the_exact_amount(nano):
    assert Fraction(format_usd(nano)) == Fraction(nano, NANO_PER_USD)


@given(st.text(alphabet="0123456789.", max_size=45))
def test_a_number_is_read_as_what_it_says_or_refused(text):
    try:
        nano = parse_usd(text)
    except InvalidAmount:
        return
    assert Fraction(nano, NANO_PER_USD) == Fraction(f"0{text}0" if "." in text else text)


@given(st.integers(-(2**80), 2**80), st.integers(1, 2**40))
def test_division_rounds_up(numerator, denominator):
    result = ceil_div(numerator, denominator)
    assert result - 1 < Fraction(numerator, denominator) <= result


@pytest.mark.parametrize(("basis_points", "shown"), [(2_500, "25"), (290, "2.9"), (5, "0.05"), (10_000, "100")])
def test_a_percentage_has_the_digits_that_it_needs(basis_points, shown):
    assert format_percent(basis_points) == shown
