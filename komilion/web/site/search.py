"""Searching the catalogue: a form of the query string, and which models it leaves in which order."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.http import QueryDict

from komilion.common.money import InvalidAmount, parse_usd
from routing.queries import CatalogRows, ModelRow

CAPABILITY_NAMES = {
    "tools": "Tools",
    "vision": "Images in",
    "json_schema": "JSON schema",
    "reasoning": "Reasoning",
}
SORTS: dict[str, tuple[str, Callable[[ModelRow], Any]]] = {
    "name": ("Name", lambda model: model.id),
    "input": ("Input price", lambda model: (model.input_charged, model.output_charged, model.id)),
    "output": ("Output price", lambda model: (model.output_charged, model.input_charged, model.id)),
    "context": ("Longest context", lambda model: (-model.offer.context_length, model.id)),
    "newest": ("Newest", lambda model: (-model.created_at.timestamp(), model.id)),
}
CONTEXTS = ((0, "Any"), (8_000, "8,000"), (32_000, "32,000"), (128_000, "128,000"), (1_000_000, "1,000,000"))


class ModelSearch(forms.Form):
    """What `/models` can be asked; a field that makes no sense says so and does not filter."""

    q = forms.CharField(label="Search", max_length=200, required=False)
    vendor = forms.ChoiceField(label="Vendor", required=False)
    context = forms.TypedChoiceField(label="Context at least", choices=CONTEXTS, coerce=int, required=False)
    most = forms.CharField(label="Input at most", max_length=20, required=False)
    sort = forms.ChoiceField(
        label="Sort by", choices=[(name, label) for name, (label, _) in SORTS.items()], required=False
    )
    can = forms.MultipleChoiceField(label="Can", required=False, widget=forms.CheckboxSelectMultiple)

    def __init__(self, rows: CatalogRows, query: QueryDict) -> None:
        super().__init__(query, auto_id="find_%s", use_required_attribute=False)
        self._text("q", type="search", placeholder="Name or id", autocomplete="off")
        self._text("most", inputmode="decimal", placeholder="2.50")
        choices: dict[str, list[tuple[str, str]]] = {
            "vendor": [("", "All"), *((name, name) for name in rows.vendors)],
            "can": [(name, label) for name, label in CAPABILITY_NAMES.items() if name in rows.capabilities],
        }
        for name, options in choices.items():
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = options

    def _text(self, name: str, **attributes: str) -> None:
        self.fields[name].widget.attrs.update(attributes)

    def clean_most(self) -> int | None:
        """US dollars per million input tokens with our fee -> nano-USD."""
        text = self.cleaned_data["most"]
        if not text:
            return None
        try:
            return parse_usd(text.removeprefix("$"))
        except InvalidAmount as error:
            raise forms.ValidationError("An amount in US dollars, such as 2.50.") from error

    @property
    def is_filtered(self) -> bool:
        """Whether anything was asked for beyond an order."""
        return any(value for name, value in self.asked.items() if name != "sort")

    @property
    def asked(self) -> dict[str, Any]:
        """What is valid of what was asked."""
        self.is_valid()
        return self.cleaned_data


class _Filter:
    """One search, ready to be asked about models."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._words = str(asked.get("q") or "").lower().split()
        self._vendor = asked.get("vendor") or ""
        self._can = set(asked.get("can") or ())
        self._most = asked.get("most")
        self._context = asked.get("context") or 0

    def keeps(self, model: ModelRow) -> bool:
        text = f"{model.id} {model.name}".lower()
        return (
            all(word in text for word in self._words)
            and self._vendor in {"", model.vendor}
            and self._can <= set(model.offer.capabilities)
            and (self._most is None or model.input_charged <= self._most)
            and model.offer.context_length >= self._context
        )


def find_models(rows: CatalogRows, search: ModelSearch) -> list[ModelRow]:
    """The models that fit, in the order asked for; by name where none is."""
    asked = search.asked
    _, order = SORTS[asked.get("sort") or "name"]
    wanted = _Filter(asked)
    return sorted((model for model in rows.models.values() if wanted.keeps(model)), key=order)


def newest(rows: CatalogRows) -> list[ModelRow]:
    """All that have no end in sight, the newest first."""
    _, order = SORTS["newest"]
    return sorted((model for model in rows.models.values() if model.sunset_on is None), key=order)
