"""The statement: each change of the balance, and the same as a file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.access import Viewer
from billing.statement import (
    StatementFilter,
    StatementLine,
    models_of_calls,
    payments_of_entries,
    statement_lines,
    statement_page,
)
from billing.wallet_queries import wallet_of
from komilion.common.money import format_usd
from komilion.web.csv_export import cell, csv_response
from komilion.web.guards import with_viewer
from komilion.web.paying.forms import KIND_NAMES, StatementForm, StatementRangeForm, this_month

CSV_HEADER = ("time_utc", "kind", "reference", "note", "in_usd", "out_usd", "balance_usd")


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A line in words, with the call or the payment that its row links to; all but the name may be empty."""

    line: StatementLine
    name: str
    note: str
    request_id: str = ""
    payment_id: str = ""


@require_safe
@with_viewer()
def statement(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """One page of lines, newest first."""
    return _statement(request, viewer, StatementRangeForm(initial=this_month()))


@require_safe
@with_viewer()
def statement_csv(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """Every line of some days in the viewer's zone, oldest first; the page with the errors where it cannot be."""
    form = StatementRangeForm(request.GET)
    if not form.is_valid():
        return _statement(request, viewer, form)
    lines = statement_lines(viewer.organization_id, form.wanted)
    name = f"statement-{form.cleaned_data['first']}-{form.cleaned_data['last']}.csv"
    return csv_response(request, name, _csv_rows(lines))


def _statement(request: HttpRequest, viewer: Viewer, range_form: StatementRangeForm) -> HttpResponse:
    form = StatementForm({} if range_form.is_bound else request.GET, since=wallet_of(viewer.organization_id).created_at)
    context: dict[str, Any] = {"form": form, "range_form": range_form}
    if form.is_valid():
        at = {name: form.cleaned_data[name] for name in ("before", "after")}
        page = statement_page(viewer.organization_id, form.wanted, **at)
        context |= {
            "lines": _shown(viewer.organization_id, page.lines),
            "is_filtered": form.wanted != StatementFilter(),
            "newer": _address(form, after=page.newer_than),
            "older": _address(form, before=page.older_than),
        }
    is_refused = bool(form.errors or range_form.errors)
    return render(request, "paying/statement.html", context, status=422 if is_refused else 200)


def _shown(organization_id: int, lines: Sequence[StatementLine]) -> list[ShownLine]:
    calls = [line.reference for line in lines if line.kind == "settle"]
    others = [line.reference for line in lines if line.kind != "settle"]
    models, payments = models_of_calls(organization_id, calls), payments_of_entries(organization_id, others)
    shown = []
    for line in lines:
        reference, name = line.reference, KIND_NAMES[line.kind]
        if line.kind == "settle":
            shown.append(ShownLine(line, name, models.get(reference, ""), request_id=reference))
        else:
            payment_id = payments.get(reference, "")
            note = "" if payment_id == reference else line.memo  # a plain top-up says nothing more
            shown.append(ShownLine(line, name, note, payment_id=payment_id))
    return shown


def _address(form: StatementForm, **position: int | None) -> str:
    """The statement from another position on, with the same filter; empty where there is none."""
    if None in position.values():
        return ""
    chosen = {name: form.cleaned_data[name] for name in ("kind", "month") if form.cleaned_data[name]}
    return f"{reverse('paying:statement')}?{urlencode({**chosen, **position})}"


def _csv_rows(lines: Iterable[StatementLine]) -> Iterator[tuple[str, ...]]:
    yield CSV_HEADER
    for line in lines:
        yield (
            line.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            line.kind,
            cell(line.reference),
            cell(line.memo),
            format_usd(max(line.delta_nano, 0)),
            format_usd(max(-line.delta_nano, 0)),
            format_usd(line.balance_nano),
        )
