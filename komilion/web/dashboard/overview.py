"""`/dashboard`: what was spent and how it went; before the first request, how to make one."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import Viewer, asker_of
from accounts.key_queries import key_names, keys_page
from accounts.models import ApiKey
from billing.calls import running_holds
from billing.models import UsageRow
from billing.queries import available_nano
from billing.usage_queries import UsageFilter, has_usage, usage_page
from billing.usage_sums import Sums, call_sums
from komilion.common.errors import KeyCapReached
from komilion.common.refusals import Refusal, last_refusals, of_organization
from komilion.web.dashboard.charts import Bar, StackedBars, bars, stacked_bars
from komilion.web.dashboard.periods import CHOICES, Period, last_days, period
from komilion.web.guards import with_viewer
from komilion.web.site.examples import example_model
from komilion.web.site.examples import first_request as first_request_tabs
from routing.queries import catalog_rows

SPANS = (1, 7, 30)
TABLE = ("requests", "errors", "input_tokens", "output_tokens", "cost_nano", "fee_nano", "charge_nano")
ARRIVED = "arrived"
MOST_ROWS = 50  # of a table
MANIFOLD = 10  # from so many times more on, percents say nothing
NO_KEY = "no key"


@require_safe
@with_viewer()
@never_cache
def show(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """The overview, or the first steps where no request was ever settled."""
    if not has_usage(viewer.organization_id):
        return render(request, "dashboard/onboarding.html", _steps(viewer))
    chosen = period(request.GET.get("days", ""))
    totals = _totals(viewer.organization_id, chosen)
    by_slot = call_sums(viewer.organization_id, chosen.slots, ["model"], measures=["charge_nano"])
    by_model = call_sums(viewer.organization_id, [chosen.window], ["model"], measures=TABLE)
    by_key = call_sums(viewer.organization_id, [chosen.window], ["key_id"], measures=TABLE)
    context = {
        "period": chosen,
        "choices": CHOICES.items(),
        "spans": list(zip((CHOICES[days] for days in SPANS), totals, strict=False)),
        "sums": totals[-2],
        "error_share": _share(totals[-2]),
        "comparison": _comparison(totals[-2], totals[-1]),
        "explorer": _explorer(chosen),
        "spend": _spend_chart(chosen, by_slot),
        "models": _model_rows(by_model, chosen),
        "keys": _key_rows(viewer.organization_id, by_key, chosen),
        "refusal": _refusal(viewer),
        "arrived": _arrived(request, viewer),
    }
    return render(request, "dashboard/overview.html", context)


@require_safe
@with_viewer()
@never_cache
def first_request(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """What htmx asks every two seconds: sends the page to the overview when a request was settled."""
    if has_usage(viewer.organization_id):
        response = HttpResponse(status=204)
        response["HX-Redirect"] = f"{reverse('dashboard:overview')}?{urlencode({ARRIVED: 1})}"
        return response
    arrival = _arrival(viewer)
    if request.GET.get("shown") == arrival["shown"]:
        return HttpResponse(status=204)  # htmx leaves the page alone, and readers are not told the same again
    return render(request, "dashboard/onboarding_wait.html", arrival)


def _steps(viewer: Viewer) -> dict[str, object]:
    model = example_model(catalog_rows())
    return {
        "has_key": bool(keys_page(asker_of(viewer), before_id=None, limit=1)[0]),
        **_arrival(viewer),
        "tabs": [] if model is None else first_request_tabs(settings.PUBLIC_URL, model.id),
    }


def _arrival(viewer: Viewer) -> dict[str, object]:
    """What came in before the first request was settled; `shown` names it, to see whether it changed."""
    running, refusal = running_holds(viewer.organization_id), _refusal(viewer)
    since = "" if refusal is None else f"{refusal.at_unix_s:.3f}"
    return {"running": running, "refusal": refusal, "shown": "running" if running else f"waiting{since}"}


def _refusal(viewer: Viewer) -> Refusal | None:
    """The last call that was refused for want of money within a day; None where the wallet covers it by now."""
    name = of_organization(viewer.organization_id)
    refusal = last_refusals([name], settings.REDIS_URL).get(name)
    if refusal is None or refusal.reason == KeyCapReached.reason:
        return refusal
    return refusal if (available_nano(viewer.organization_id) or 0) < refusal.needed_nano else None


def _totals(organization_id: int, chosen: Period) -> list[Sums]:
    """Today, 7 and 30 days, the chosen period, the one before it: one statement, one moment."""
    windows = [*(last_days(days) for days in SPANS), chosen.window, chosen.before]
    found = call_sums(organization_id, windows)
    return [found.get((number,), Sums()) for number in range(len(windows))]


def _share(sums: Sums) -> str:
    """The errors of all requests: `3 %`, or what is said where that would be 0."""
    percent = sums.errors * 100 // max(1, sums.requests)
    return f"{percent} %" if percent else "less than 1 %"


def _comparison(now: Sums, before: Sums) -> str:
    """How spending changed: `12 % more`; empty where there was none before."""
    if not before.charge_nano:
        return ""
    percent = (now.charge_nano - before.charge_nano) * 100 // before.charge_nano
    if percent == 0:
        return "as much"
    if percent >= MANIFOLD * 100:
        return f"{now.charge_nano // before.charge_nano:,} times as much"
    return f"{abs(percent):,} % {'more' if percent > 0 else 'less'}"


def _spend_chart(chosen: Period, by_slot: dict[tuple[Any, ...], Sums]) -> StackedBars:
    series: dict[str, list[int]] = {}
    for (slot, model), sums in by_slot.items():
        series.setdefault(model, [0] * len(chosen.slots))[slot] = sums.charge_nano
    return stacked_bars(chosen.labels, series)


@dataclass(frozen=True, slots=True)
class Row:
    """One model or key: its bar and its sums."""

    bar: Bar
    sums: Sums


def _model_rows(by_model: dict[tuple[Any, ...], Sums], chosen: Period) -> list[Row]:
    return _rows([(name, sums, _explorer(chosen, model=name)) for (_, name), sums in by_model.items()])


def _key_rows(organization_id: int, by_key: dict[tuple[Any, ...], Sums], chosen: Period) -> list[Row]:
    names = key_names(organization_id, [key_id for _, key_id in by_key if key_id])
    named = [
        (_key_name(names, key_id), sums, _explorer(chosen, key=str(key_id)) if key_id else "")
        for (_, key_id), sums in by_key.items()
    ]
    return _rows(named)


def _rows(named: list[tuple[str, Sums, str]]) -> list[Row]:
    """Dearest first, so many; what is beyond them is one row."""
    named.sort(key=lambda item: (-item[1].charge_nano, item[0]))
    if len(named) > MOST_ROWS:
        rest = sum((sums for _, sums, _ in named[MOST_ROWS - 1 :]), Sums())
        named = [*named[: MOST_ROWS - 1], (f"{len(named) - MOST_ROWS + 1:,} more", rest, "")]
    drawn = bars([(name, sums.charge_nano, href) for name, sums, href in named])
    return [Row(bar, sums) for bar, (_, sums, _) in zip(drawn, named, strict=True)]


def _key_name(names: dict[int, ApiKey], key_id: int) -> str:
    if key_id == 0:
        return NO_KEY
    return names[key_id].name if key_id in names else f"key {key_id}, deleted"


def _explorer(chosen: Period, **filters: str) -> str:
    """The usage explorer with these filters over the chosen period."""
    start = timezone.localtime(chosen.window.start)
    return f"{reverse('dashboard:usage')}?{urlencode({**filters, 'from': f'{start:%Y-%m-%dT%H:%M}'})}"


def _arrived(request: HttpRequest, viewer: Viewer) -> UsageRow | None:
    """The newest request, where the page was opened because the first one arrived."""
    if ARRIVED not in request.GET:
        return None
    rows = usage_page(viewer.organization_id, UsageFilter(), None, 1).rows
    return rows[0] if rows else None
