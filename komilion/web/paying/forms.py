"""What people type on the wallet's pages. Dollars become cents or nano-USD without ever being a float."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, override

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils import timezone

from billing.statement import DELTA_SIGNS, StatementFilter
from komilion.common.clock import utc_now
from komilion.common.money import NANO_PER_CENT, InvalidAmount, format_usd, parse_usd

OFFERED_CENTS = (1_000, 2_500, 5_000, 10_000)
OWN = "own"
MOST_DOLLARS = 1_000_000
DIGITS_OF_DOLLARS = 9  # with more of them it is no amount of the ledger, and still too much rather than none
STATEMENT_FILE_DAYS = 366
FIRST_DAY, LAST_DAY = date(2020, 1, 1), date(2999, 12, 31)  # what midnight can be worked out for in any zone

KIND_NAMES = {
    "settle": "Call",
    "topup": "Top-up",
    "grant": "Credit given",
    "recredit": "Credit returned",
    "refund": "Refund",
    "adjust": "Correction",
    "breakage": "Promo credit ended",
    "chargeback": "Charge-back",
    "chargeback_reversed": "Charge-back returned",
}


def dollars(cents: int) -> str:
    """1050 -> `10.50`."""
    return format_usd(cents * NANO_PER_CENT)


def _to_read(cents: int) -> str:
    """1_000_000 -> `$10,000.00`."""
    return f"${cents // 100:,}.{cents % 100:02d}"


class CentsField(forms.CharField):
    """US dollars with at most two decimals, such as `25`, `1,250.00` or `$25`; cleaned to whole cents."""

    def __init__(self, *, least_cents: int = 0, most_cents: int = MOST_DOLLARS * 100, **options: Any) -> None:
        attributes = {"inputmode": "decimal", "autocomplete": "off", "spellcheck": "false"}
        super().__init__(max_length=20, widget=forms.TextInput(attributes), **options)
        self.least_cents = least_cents
        self.most_cents = most_cents

    @override
    def clean(self, value: Any) -> int | None:
        """Cents; None where nothing was typed and nothing had to be."""
        text = str(super().clean(value)).removeprefix("$").replace(",", "")
        if not text:
            return None
        if text.isdecimal() and len(text) > DIGITS_OF_DOLLARS:
            raise ValidationError(f"The most is {_to_read(self.most_cents)}.")
        try:
            nano = parse_usd(text)
        except InvalidAmount:
            raise ValidationError("Write an amount in US dollars, such as 25.00.") from None
        cents, rest = divmod(nano, NANO_PER_CENT)
        if rest:
            raise ValidationError("Whole cents only, such as 25.00.")
        if cents < self.least_cents:
            raise ValidationError(f"The least is {_to_read(self.least_cents)}.")
        if cents > self.most_cents:
            raise ValidationError(f"The most is {_to_read(self.most_cents)}.")
        return cents


def _top_up_field(**options: Any) -> CentsField:
    return CentsField(least_cents=settings.TOPUP_MINIMUM_CENTS, most_cents=settings.TOPUP_MAXIMUM_CENTS, **options)


def _day_field(**options: Any) -> forms.DateField:
    return forms.DateField(
        widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
        validators=[MinValueValidator(FIRST_DAY), MaxValueValidator(LAST_DAY)],
        **options,
    )


class TopUpForm(forms.Form):
    """How much credit to buy. `credit_cents` is there when the form is valid."""

    amount = forms.ChoiceField(
        label="Credit",
        choices=[*((str(cents), f"${cents // 100}") for cents in OFFERED_CENTS), (OWN, "Another amount")],
        initial=str(OFFERED_CENTS[1]),
        widget=forms.RadioSelect,
    )
    own_amount = _top_up_field(label="Another amount, in US dollars", required=False)
    saves_card = forms.BooleanField(
        label="Keep this card",
        required=False,
        help_text="For automatic top-ups, which you set up and stop on this page.",
    )

    @property
    def credit_cents(self) -> int:
        """What the wallet shall get."""
        if self.cleaned_data["amount"] == OWN:
            return int(self.cleaned_data["own_amount"])
        return int(self.cleaned_data["amount"])

    @override
    def clean(self) -> dict[str, Any]:
        """Two amounts that disagree are an error: nobody should pay what she did not mean."""
        cleaned = super().clean() or {}
        typed = cleaned.get("own_amount")
        if cleaned.get("amount") == OWN and typed is None and "own_amount" not in self.errors:
            self.add_error("own_amount", "Write how much.")
        if typed is not None and cleaned.get("amount") not in {OWN, str(typed), None}:
            self.add_error("own_amount", "Choose “Another amount” above to pay this, or leave it empty.")
        return cleaned


class AutoRechargeForm(forms.Form):
    """When to top up by the saved card, by how much, and how much a day at most."""

    threshold = CentsField(label="When the balance falls below, in US dollars", least_cents=100)
    credit = _top_up_field(label="Buy credit of, in US dollars")
    daily_cap = _top_up_field(
        label="At most a day, in US dollars", help_text="Of credit, each day (UTC); then it waits for the next one."
    )
    agrees = forms.BooleanField(
        label="I agree to the text above", error_messages={"required": "Without this nothing can be charged."}
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial, auto_id="recharge_%s")  # another form of the page has such fields too

    @override
    def clean(self) -> dict[str, Any]:
        """One top-up must fit into the day."""
        cleaned = super().clean() or {}
        credit, cap = cleaned.get("credit"), cleaned.get("daily_cap")
        if credit is not None and cap is not None and cap < credit:
            self.add_error("daily_cap", f"Less than one top-up of ${dollars(credit)}.")
        return cleaned


class AlertForm(forms.Form):
    """Below which balance to write an e-mail; empty for never."""

    threshold = CentsField(
        label="When the balance falls below, in US dollars",
        required=False,
        least_cents=1,
        help_text="Empty: no e-mail. It goes to the owners and to those with the role billing.",
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial, auto_id="alert_%s")  # another form of the page has such fields too


class StatementForm(forms.Form):
    """What the statement shows, and from where on."""

    kind = forms.ChoiceField(
        label="Kind", required=False, choices=[("", "Everything"), *((kind, KIND_NAMES[kind]) for kind in DELTA_SIGNS)]
    )
    month = forms.ChoiceField(label="Month", required=False)
    before = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput)
    after = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput)

    def __init__(self, *arguments: Any, since: datetime, **options: Any) -> None:
        super().__init__(*arguments, **options)
        months: forms.ChoiceField = self.fields["month"]  # type: ignore[assignment]
        months.choices = [("", "All"), *((f"{month:%Y-%m}", f"{month:%B %Y}") for month in _months_back_to(since))]

    @property
    def wanted(self) -> StatementFilter:
        """The filter of a valid form. Months are those of the viewer's zone."""
        kind = self.cleaned_data["kind"] or None
        if not self.cleaned_data["month"]:
            return StatementFilter(kind=kind)
        first = date.fromisoformat(f"{self.cleaned_data['month']}-01")
        return StatementFilter(kind=kind, since=_midnight(first), until=_midnight(_next_month(first)))


class StatementRangeForm(forms.Form):
    """Which days of the statement to download, both included, in the viewer's zone."""

    first = _day_field(label="From")
    last = _day_field(label="To")

    @override
    def clean(self) -> dict[str, Any]:
        """The days in order, and not too many."""
        cleaned = super().clean() or {}
        first, last = cleaned.get("first"), cleaned.get("last")
        if first is not None and last is not None:
            if last < first:
                self.add_error("last", "This day is before the first one.")
            elif (last - first).days >= STATEMENT_FILE_DAYS:
                self.add_error("last", f"At most {STATEMENT_FILE_DAYS} days at once.")
        return cleaned

    @property
    def wanted(self) -> StatementFilter:
        """The filter of a valid form."""
        after_last = self.cleaned_data["last"] + timedelta(days=1)
        return StatementFilter(since=_midnight(self.cleaned_data["first"]), until=_midnight(after_last))


def this_month() -> dict[str, date]:
    """What the range is until somebody changes it: this month up to today, in the viewer's zone."""
    today = timezone.localdate()
    return {"first": today.replace(day=1), "last": today}


def _midnight(day: date) -> datetime:
    """The start of a day in the viewer's zone; the database's of the few days that have none there."""
    return timezone.make_aware(datetime.combine(day, time.min)).astimezone(UTC)


def _next_month(first: date) -> date:
    return (first + timedelta(days=32)).replace(day=1)


def _months_back_to(since: datetime) -> Iterator[date]:
    """First days of months, this one first, in the viewer's zone."""
    last = timezone.localdate(since).replace(day=1)
    month = timezone.localdate(utc_now()).replace(day=1)
    while month >= last:
        yield month
        month = (month - timedelta(days=1)).replace(day=1)
