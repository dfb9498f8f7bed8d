"""`/dashboard/usage`: every call, filtered; one call whole; the same calls as CSV."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import Viewer
from accounts.key_queries import key_names
from accounts.models import ApiKey
from billing.access import access_call
from billing.calls import running_holds
from billing.models import UsageRow
from billing.usage_queries import UsageFilter, usage_page, usage_rows
from billing.usage_sums import Sums, call_sums
from komilion.common.money import format_percent, format_usd
from komilion.common.usage import ALL_BUCKETS, Usage
from komilion.web.csv_export import cell, csv_response
from komilion.web.dashboard.forms import UsageForm
from komilion.web.dashboard.words import ACCOUNTS, BUCKETS, ENTRIES, SOURCES, STATES, Outcome, outcome_of
from komilion.web.guards import with_viewer
from routing.selection.receipts import stored_explanation

ROWS_A_PAGE = 50
NO_KEY = 0
DIMENSIONS = ("key_id", "model", "provider", "outcome")
SPEAKING = ("audio.speech", "deepgram.tts")  # endpoints whose seconds are spoken, not heard
COLUMNS = (
    *("created_at", "request_id", "client_request_id", "key_id", "key", "endpoint", "requested_model", "model"),
    *("provider", "streamed", "outcome", "usage_source", "input_tokens", "cached_tokens", "output_tokens"),
    *("audio_ms", "characters"),
    *("cost_usd", "fee_usd", "charge_usd", "savings_usd", "first_content_ms", "duration_ms", "end_user", "tags"),
)


@dataclass(frozen=True, slots=True)
class CallRow:
    """A line of the list."""

    row: UsageRow
    usage: Usage
    outcome: Outcome
    key_name: str

    @property
    def taken(self) -> str:
        """What went in: tokens, or the characters to be spoken or the seconds that were heard."""
        heard_ms = 0 if self.row.endpoint in SPEAKING else self.usage.audio_ms
        return _units(self.usage.total_input, heard_ms, self.usage.characters)

    @property
    def given(self) -> str:
        """What came out: tokens, or the seconds that were spoken."""
        return _units(self.usage.total_output, self.usage.audio_ms if self.row.endpoint in SPEAKING else 0)


@require_safe
@with_viewer()
@never_cache
def explore(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """A page of calls, newest first, and what all that match add up to."""
    form = UsageForm(request.GET)
    is_valid = form.is_valid()
    filters = form.filters() if is_valid else UsageFilter()
    cursor = request.GET.get("cursor", "")
    page = usage_page(viewer.organization_id, filters, cursor, ROWS_A_PAGE)
    used = call_sums(viewer.organization_id, [filters.window], DIMENSIONS, measures=["requests", "charge_nano"])
    names = key_names(viewer.organization_id, {key_id for _, key_id, *_ in used if key_id})
    _offer(form, used, names)
    query = {name: value for name, value in request.GET.items() if value and name != "cursor"}
    is_first = not cursor
    context = {
        "form": form,
        "window": filters.window,
        "rows": _call_rows(page.rows, names),
        "running": running_holds(viewer.organization_id) if is_first and not _is_narrow(filters) else [],
        "sums": None if filters.labels else _matching(used, filters),
        "older": None if page.next_cursor is None else "?" + urlencode({**query, "cursor": page.next_cursor}),
        "newer": None if is_first else f"?{urlencode(query)}",
        "csv_query": urlencode(query),
        "is_filtered": bool(query),
    }
    return render(request, "dashboard/usage.html", context, status=200 if is_valid else 422)


def _is_narrow(filters: UsageFilter) -> bool:
    """Whether running calls, of which only the amount is known yet, may not match."""
    return bool(filters.columns or filters.labels or filters.end)


def _offer(form: UsageForm, used: dict[tuple[Any, ...], Sums], names: dict[int, ApiKey]) -> None:
    """What there is to choose from in the window."""
    keys = [(str(key_id), key.name) for key_id, key in names.items()]
    keys += [(str(NO_KEY), "no key")] if any(key_id == NO_KEY for _, key_id, *_ in used) else []
    models = sorted({str(model) for _, _, model, *_ in used})
    providers = sorted({str(provider) for _, _, _, provider, _ in used})
    form.offer(
        sorted(keys, key=lambda key: key[1]), zip(models, models, strict=True), zip(providers, providers, strict=True)
    )


def _matching(used: dict[tuple[Any, ...], Sums], filters: UsageFilter) -> Sums:
    """What the calls that match add up to."""
    total = Sums()
    for (_, *values), sums in used.items():
        found = dict(zip(DIMENSIONS, values, strict=True))
        if all(found[name] == value for name, value in filters.columns.items()):
            total += sums
    return total


def _call_rows(rows: Sequence[UsageRow], names: dict[int, ApiKey]) -> list[CallRow]:
    return [CallRow(row, Usage(**_known(row.usage)), outcome_of(row.outcome), _key_name(names, row)) for row in rows]


def _units(tokens: int, audio_ms: int, characters: int = 0) -> str:
    """`1,200`, `3.8 s` or `24 chars`."""
    spoken = (f"{characters:,} chars" if characters else "", f"{audio_ms / 1000:,.1f} s" if audio_ms else "")
    shown = [f"{tokens:,}" if tokens else "", *spoken]
    return ", ".join(filter(None, shown)) or "0"


def _known(usage: dict[str, int]) -> dict[str, int]:
    """Buckets that this version knows."""
    return {name: units for name, units in usage.items() if name in ALL_BUCKETS}


def _key_name(names: dict[int, ApiKey], row: UsageRow) -> str:
    if row.key_id is None:
        return ""
    return names[row.key_id].name if row.key_id in names else f"key {row.key_id}, deleted"


@require_safe
@with_viewer()
@never_cache
def show_request(request: HttpRequest, viewer: Viewer, request_id: str) -> HttpResponse:
    """One call whole: what it was, what it used, what it cost and why, and what the ledger says."""
    record = access_call(viewer.organization_id, request_id)
    row = record.row
    detail = row.detail if row is not None else {}
    key_id = None if row is None else row.key_id
    names = key_names(viewer.organization_id, [] if key_id is None else [key_id])
    context = {
        "record": record,
        "row": row,
        "key": names.get(key_id) if key_id is not None else None,
        "key_name": "" if row is None else _key_name(names, row),
        "outcome": STATES[record.state] if row is None else outcome_of(row.outcome),
        "source": None if row is None else SOURCES.get(row.usage_source, row.usage_source),
        "lines": [(BUCKETS.get(line.bucket, line.bucket), line) for line in record.lines],
        "buckets": [] if row is None else [(BUCKETS.get(name, name), units) for name, units in row.usage.items()],
        "fee_percent": format_percent(record.fee_basis_points) if record.lines else "",
        "attempts": detail.get("attempts", []),
        "adjusted": detail.get("adjusted", []),
        "receipt": None if row is None else stored_explanation(row),
        "entries": [
            (
                line.entry,
                ENTRIES.get(line.entry.kind, line.entry.kind),
                [
                    (
                        ACCOUNTS.get(posting.source, posting.source),
                        ACCOUNTS.get(posting.target, posting.target),
                        posting,
                    )
                    for posting in line.postings
                ],
            )
            for line in record.entries
        ],
    }
    return render(request, "dashboard/request.html", context)


@require_safe
@with_viewer()
def export(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """The calls that match, all of them, as CSV with exact amounts."""
    form = UsageForm(request.GET)
    if not form.is_valid():
        return explore(request)
    filters = form.filters()
    used = call_sums(viewer.organization_id, [filters.window], ["key_id"], measures=["requests"])
    names = key_names(viewer.organization_id, {key_id for _, key_id in used if key_id})
    return csv_response(request, "usage.csv", _csv(usage_rows(viewer.organization_id, filters), names))


def _csv(rows: Iterator[UsageRow], names: dict[int, ApiKey]) -> Iterator[Sequence[str]]:
    yield COLUMNS
    for row in rows:
        usage = Usage(**_known(row.usage))
        yield [
            row.created_at.astimezone(UTC).isoformat(),
            row.request_id,
            cell(row.client_request_id),
            "" if row.key_id is None else str(row.key_id),
            cell(_key_name(names, row)),
            row.endpoint,
            cell(row.requested_model),
            cell(row.model),
            cell(row.provider),
            "yes" if row.streamed else "no",
            row.outcome,
            row.usage_source,
            *(str(tokens) for tokens in (usage.total_input, usage.cache_read, usage.total_output)),
            *(str(units) for units in (usage.audio_ms, usage.characters)),
            *(format_usd(nano) for nano in (row.cost_nano, row.fee_nano, row.charge_nano, row.savings_nano)),
            "" if row.first_content_ms is None else str(row.first_content_ms),
            str(row.duration_ms),
            cell(row.end_user),
            cell(", ".join(row.tags)),
        ]
