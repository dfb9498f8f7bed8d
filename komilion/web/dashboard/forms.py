"""The filters of the usage explorer, a GET form whose fields are the address's parameters; and evaluation cases."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, override

from django import forms
from django.utils import timezone

from advisor.checks import problem_with
from advisor.models import EvaluationCase
from billing.usage_queries import UsageFilter
from komilion.web.dashboard.words import OUTCOMES
from routing.selection.words import TASKS

type Choices = Iterable[tuple[str, str]]


class LocalMomentField(forms.Field):
    """A time of the current zone. One that the clock skips or has twice there is taken as the earlier."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")

    @override
    def to_python(self, value: Any) -> datetime | None:
        """An aware time in UTC."""
        if not value:
            return None
        try:
            naive = datetime.fromisoformat(str(value))
            return naive.replace(tzinfo=naive.tzinfo or timezone.get_current_timezone()).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise forms.ValidationError("Write a time such as 2026-11-22T18:30.") from error


class UsageForm(forms.Form):
    """`choices` offers what there is to choose from; another value is searched for all the same and finds nothing."""

    key = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1, label="Key")
    model = forms.CharField(required=False, max_length=200, label="Model")
    provider = forms.CharField(required=False, max_length=64, label="Provider")
    outcome = forms.CharField(required=False, max_length=24, label="Outcome")
    tag = forms.CharField(required=False, max_length=128, label="Tag")
    user = forms.CharField(required=False, max_length=512, label="End user")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["from"] = LocalMomentField(required=False, label="From")
        self.fields["to"] = LocalMomentField(required=False, label="To")

    def offer(self, keys: Choices, models: Choices, providers: Choices) -> None:
        """Turn fields into lists of what there is; what is being searched for stays in the list."""
        outcomes = [(name, outcome.word) for name, outcome in OUTCOMES.items()]
        for name, choices in (("key", keys), ("model", models), ("provider", providers), ("outcome", outcomes)):
            listed = list(choices)
            chosen = str(self.data.get(name, ""))
            if chosen and chosen not in dict(listed):
                listed.append((chosen, chosen))
            self.fields[name].widget = forms.Select(choices=[("", "all"), *listed])

    @override
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        start, end = cleaned.get("from"), cleaned.get("to")
        if start is not None and end is not None and start >= end:
            self.add_error("to", "This is not after the start.")
        return cleaned

    def filters(self) -> UsageFilter:
        """What was asked for; a valid form's."""
        data = self.cleaned_data
        return UsageFilter(
            key_id=data["key"],
            model=data["model"] or None,
            provider=data["provider"] or None,
            outcome=data["outcome"] or None,
            tag=data["tag"] or None,
            end_user=data["user"] or None,
            start=data["from"],
            end=data["to"],
        )


CHECKS = {
    EvaluationCase.Check.CONTAINS: "the answer contains this",
    EvaluationCase.Check.REGEX: "the answer matches this regular expression",
    EvaluationCase.Check.JSON_SCHEMA: "the answer is JSON that fits this schema",
    EvaluationCase.Check.CODE: "this code in Python, whose last line is True for a good `answer`",
}


class CaseForm(forms.Form):
    """An evaluation case: a prompt, and how its answer is checked."""

    task = forms.ChoiceField(label="Task type", choices=[(task, task) for task in TASKS])
    name = forms.CharField(label="Name", max_length=100)
    prompt = forms.CharField(label="Prompt", max_length=20_000, widget=forms.Textarea(attrs={"rows": 3}))
    check_kind = forms.ChoiceField(label="Check", choices=list(CHECKS.items()))
    expected = forms.CharField(label="What is expected", max_length=5_000, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, organization_id: int, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._organization_id = organization_id

    @override
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            wrong = problem_with(cleaned["check_kind"], cleaned["expected"], self._organization_id)
            if wrong:
                self.add_error("expected", wrong)
        return cleaned
