"""Money is integer nano-USD (10^-9 $) everywhere; this module is the only place that turns text into it and back.

Nothing here accepts a float: a binary fraction has no place between a price list and a bill.
"""

from decimal import Decimal

NANO_DIGITS = 9
NANO_PER_USD: int = 10**NANO_DIGITS
NANO_PER_CENT = NANO_PER_USD // 100
MAX_NANO = 2**63 - 1


class InvalidAmount(ValueError):
    """The text is not an amount of US dollars that fits the ledger."""


def parse_usd(text: str | Decimal) -> int:
    """`"10.00"` -> 10_000_000_000 nano-USD. Raises `InvalidAmount` for signs, exponents, NaN or sub-nano digits."""
    raw = str(text).strip()
    if not raw or not raw.isascii() or raw.strip("0123456789.") or raw.count(".") > 1 or raw == ".":
        raise InvalidAmount(f"{raw[:40]!r} is not an amount in US dollars such as 10.00")
    whole, _, fraction = raw.partition(".")
    whole, fraction = whole.lstrip("0"), fraction.rstrip("0")
    if len(fraction) > NANO_DIGITS:
        raise InvalidAmount(f"{raw[:40]!r} is finer than a nano-dollar")
    if len(whole) > NANO_DIGITS + 1 or (nano := int(f"{whole}{fraction:0<{NANO_DIGITS}}")) > MAX_NANO:
        raise InvalidAmount(f"{raw[:40]!r} is more than the ledger can hold")
    return nano


def format_usd(nano: int) -> str:
    """10_000_000_000 -> `"10.00"`; exact, at least two decimals, never an exponent."""
    if nano < 0:
        return "-" + format_usd(-nano)
    whole, fraction = divmod(nano, NANO_PER_USD)
    digits = f"{fraction:09d}".rstrip("0")
    return f"{whole}.{digits:0<2}"


def format_percent(basis_points: int) -> str:
    """2_500 -> `"25"`, 290 -> `"2.9"`."""
    whole, hundredths = divmod(basis_points, 100)
    return f"{whole}.{hundredths:02d}".rstrip("0") if hundredths else str(whole)


def ceil_div(numerator: int, denominator: int) -> int:
    """Smallest integer not below numerator / denominator (denominator > 0)."""
    return -(-numerator // denominator)
