"""The form of a key: its terms and its caps, as a person writes them."""

import re
import secrets
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any, override

from django import forms
from django.utils import timezone

from accounts.actions.keys import KeyTerms
from accounts.models import ApiKey
from billing.cap_periods import PERIODS
from komilion.common.errors import KomilionError
from komilion.common.money import InvalidAmount, format_usd, parse_usd
from komilion.common.tiers import LIMIT_NAMES, Limits
from routing.catalog.queries import model_ids
from routing.queries import catalog_rows

EXPIRES_IN_MOST_DAYS = 3_660
TOKEN = re.compile(r"^[\w-]{22,64}$")
IN_THOUSANDS = re.compile(r"^[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?$")  # elsewhere 0,50 is half a dollar: it is refused
EPOCH = re.compile(r"^[0-9]{1,18}$")


class UsdFormField(forms.CharField):
    """US dollars as text; cleans to nano-USD, empty to None, which `empty` says in words."""

    def __init__(self, *, empty: str = "no cap", **options: Any) -> None:
        widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "placeholder": empty})
        super().__init__(required=False, max_length=20, widget=widget, **options)

    @override
    def clean(self, value: Any) -> int | None:
        """Nano-USD."""
        text = super().clean(value).removeprefix("$")
        if not text:
            return None
        if IN_THOUSANDS.match(text):
            text = text.replace(",", "")
        try:
            return parse_usd(text)
        except InvalidAmount as error:
            raise forms.ValidationError("Write an amount in US dollars, such as 10.00.") from error


def _limit_field(label: str, help_text: str) -> forms.IntegerField:
    return forms.IntegerField(label=label, help_text=help_text, required=False, min_value=0)


class KeyForm(forms.Form):
    """A new key, or one that is changed."""

    name = forms.CharField(
        label="Name",
        max_length=200,
        help_text="What will use it, such as “checkout, production”. One key for each use tells you who spent what.",
    )
    cap_day = UsdFormField(label="Most a day", help_text="US dollars in each UTC day.")
    cap_month = UsdFormField(label="Most a month", help_text="US dollars in each UTC month.")
    cap_total = UsdFormField(label="Most ever", help_text="US dollars over the whole life of the key.")
    expires_on = forms.DateField(
        label="Last day",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="The key stops working when this day ends in your time zone.",
    )
    models = forms.CharField(
        label="Models",
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "placeholder": "every model"}),
        help_text="One a line, such as openai/gpt-4.1-mini. Empty: every model.",
    )
    requests_per_minute = _limit_field("Requests a minute", "")
    tokens_per_minute = _limit_field("Tokens a minute", "")
    parallel = _limit_field("Requests at the same time", "")
    burst_per_s = _limit_field("Requests a second", "")
    manage = forms.BooleanField(
        label="May manage keys",
        required=False,
        help_text="Lets a program make and revoke keys by the API. It gives no more than it has itself.",
    )
    form_token = forms.CharField(widget=forms.HiddenInput, required=False, max_length=64)

    def __init__(self, *args: Any, most: Limits, key: ApiKey | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._key = key
        for name in LIMIT_NAMES:
            self.fields[name].help_text = f"Empty: as the organization, {getattr(most, name):,}."
        self.initial.setdefault("form_token", secrets.token_urlsafe(24) if key is None else str(key.auth_epoch))

    @property
    def advanced(self) -> list[forms.BoundField]:
        """What stands behind “More”."""
        names = ("models", "requests_per_minute", "tokens_per_minute", "parallel", "burst_per_s", "manage")
        return [self[name] for name in names]

    @property
    def opens_advanced(self) -> bool:
        """Whether something in there is filled in or wrong, so it must be seen."""
        return any(field.errors or field.value() for field in self.advanced)

    def clean_expires_on(self) -> datetime | None:
        """The end of that day in the viewer's zone; the moment that is stored where its day was not changed."""
        day = self.cleaned_data["expires_on"]
        if day is None:
            return None
        stored = self._key.expires_at if self._key is not None else None
        if stored is not None and day == last_day(stored):
            return stored
        today = timezone.localdate()
        if not today <= day <= today + timedelta(days=EXPIRES_IN_MOST_DAYS):
            raise forms.ValidationError("Choose today or a later day, at most ten years ahead.")
        return timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min))

    def clean_models(self) -> frozenset[str] | None:
        """Ids of models, each one known to the catalogue by any of its names; those that the key has may stay."""
        names = frozenset(re.split(r"[\s,]+", self.cleaned_data["models"].strip())) - {""}
        if not names:
            return None
        kept = frozenset(self._key.models_allowed or ()) if self._key is not None else frozenset()
        ids = kept | model_ids()
        catalog = catalog_rows().catalog
        meant = {name: name if name in ids else catalog.canonical(name) for name in sorted(names)}
        unknown = next((name for name, model_id in meant.items() if model_id is None), None)
        if unknown is not None:
            raise forms.ValidationError(f"There is no model {unknown[:100]!r}.")
        return frozenset(model_id for model_id in meant.values() if model_id is not None)

    def clean_form_token(self) -> str:
        """What makes a form good for one key; of a key that is changed, the state that the form was filled with."""
        token: str = self.cleaned_data["form_token"]
        if not (TOKEN if self._key is None else EPOCH).match(token):
            raise forms.ValidationError("Open this form anew.")
        return token

    def terms(self) -> KeyTerms:
        """What the key may do."""
        data = self.cleaned_data
        return KeyTerms(
            name=data["name"].strip(),
            expires_at=data["expires_on"],
            models_allowed=data["models"],
            limits={name: data[name] for name in sorted(LIMIT_NAMES) if data[name] is not None},
            can_manage=data["manage"],
        )

    def caps(self) -> dict[str, int | None]:
        """Nano-USD by period; None: no cap."""
        return {period: self.cleaned_data[f"cap_{period}"] for period in PERIODS}

    def epoch(self) -> int:
        """The `auth_epoch` of the key that the form was filled with."""
        return int(self.cleaned_data["form_token"])

    def refuse(self, error: KomilionError) -> None:
        """Put what an action said beside the field it spoke of."""
        name = FIELDS.get(error.param or "", (error.param or "").removeprefix("limits.").replace("caps.", "cap_"))
        self.add_error(name if name in self.fields else None, error.message)


FIELDS = {"expires_in": "expires_on"}


def last_day(expires_at: datetime | None) -> Any:
    """The day in the viewer's zone in whose course the key stops working; a midnight belongs to the day before."""
    return None if expires_at is None else timezone.localdate(expires_at - timedelta(microseconds=1))


def initial_of(key: ApiKey, caps: Mapping[str, Any]) -> dict[str, Any]:
    """The form's fields for this key; `caps` are those of `caps_of_keys`."""
    return {
        "name": key.name,
        "expires_on": last_day(key.expires_at),
        "models": "\n".join(key.models_allowed or ()),
        "manage": key.can_manage,
        **key.limits,
        **{f"cap_{period}": format_usd(cap.limit_nano) for period, cap in caps.items()},
    }
