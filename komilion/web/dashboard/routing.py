"""`/dashboard/routing`: what the policies chose and why, what that saved, pins, and the switch for retired models."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.access import Right, Viewer
from billing.models import UsageRow
from billing.usage_queries import UsageFilter, sums_by_request_for, usage_page
from billing.usage_sums import Sums, call_sums
from komilion.common.errors import BadRequest, NotFound
from komilion.web.dashboard.periods import CHOICES, Period, period
from komilion.web.dashboard.words import POLICIES
from komilion.web.guards import with_viewer
from routing.actions.pins import Pinner, do_follow_successors, do_remove_pin, do_set_pin
from routing.queries import catalog_rows
from routing.selection.explain import why
from routing.selection.queries import follows_successors, pins_of
from routing.selection.receipts import CHOICE, answered_by
from routing.selection.words import TASKS, VIRTUAL_MODELS

ROWS_READ = 300  # of all calls, the newest first, to find those that a policy answered
MEASURES = ("requests", "charge_nano", "savings_nano")


@dataclass(frozen=True, slots=True)
class Chosen:
    """One call that a policy answered."""

    row: UsageRow
    policy: str
    task: str
    why: str


@require_safe
@with_viewer()
@never_cache
def show(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """All of it on one page."""
    chosen = period(request.GET.get("days", ""))
    cursor = request.GET.get("cursor", "")
    page = usage_page(viewer.organization_id, UsageFilter(), cursor, ROWS_READ)
    routed = sums_by_request_for(viewer.organization_id, chosen.window, VIRTUAL_MODELS)
    days = _days(viewer.organization_id, chosen)
    here = {"days": chosen.days}
    context = {
        "period": chosen,
        "choices": CHOICES.items(),
        "days": [(label, sums) for label, sums in days if sums.requests],
        "total": sum((sums for _, sums in days), Sums()),
        "routed": routed,
        "saved_percent": _percent(routed),
        "rows": list(_chosen(page.rows)),
        "older": None if page.next_cursor is None else "?" + urlencode({**here, "cursor": page.next_cursor}),
        "newer": f"?{urlencode(here)}" if cursor else None,
        "pins": pins_of(viewer.organization_id),
        "tasks": TASKS,
        "models": sorted(catalog_rows().models),
        "follows_successors": follows_successors(viewer.organization_id),
        "policies": POLICIES.items(),
    }
    return render(request, "dashboard/routing.html", context)


def _days(organization_id: int, chosen: Period) -> list[tuple[str, Sums]]:
    """What was charged and saved in each slot of the period."""
    found = call_sums(organization_id, chosen.slots, measures=MEASURES)
    return [(label, found.get((number,), Sums())) for number, label in enumerate(chosen.labels)]


def _percent(routed: Sums) -> int | None:
    """Savings of 100 that the best models would have cost; None where they would have cost nothing."""
    best_nano = routed.charge_nano + routed.savings_nano
    return round(100 * routed.savings_nano / best_nano) if best_nano > 0 else None


def _chosen(rows: list[UsageRow]) -> Iterator[Chosen]:
    """Of these calls the ones for which a model was chosen."""
    for row in rows:
        choice: Any = row.detail.get(CHOICE)
        if not isinstance(choice, dict) and row.requested_model not in VIRTUAL_MODELS:
            continue
        known = choice if isinstance(choice, dict) else {}
        rule = str(known.get("rule", "selection_degraded"))
        policy = str(known.get("policy") or VIRTUAL_MODELS.get(row.requested_model, ""))
        chosen = str(row.detail.get("instead_of", row.model))
        words = why(rule, chosen, answered_by(row) or chosen, known.get("trial"))
        yield Chosen(row, policy, str(row.detail.get("task_type") or ""), words)


@require_POST
@with_viewer(Right.KEYS)
def set_pin(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """Set one, or replace the one that is there."""
    task, model = request.POST.get("task", ""), request.POST.get("model", "")
    try:
        pin = do_set_pin(Pinner(viewer.organization_id, viewer.email), task, model)
    except BadRequest as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"{pin.model} answers requests of “{pin.task}” from now on.")
    return redirect("dashboard:routing")


@require_POST
@with_viewer(Right.KEYS)
def remove_pin(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """Leave the task type to the policies again; where somebody else did so before, nothing is left to do."""
    try:
        pin = do_remove_pin(Pinner(viewer.organization_id, viewer.email), request.POST.get("task", ""))
    except (BadRequest, NotFound) as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"The policies choose again for “{pin.task}”.")
    return redirect("dashboard:routing")


@require_POST
@with_viewer(Right.KEYS)
def set_successors(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """Whether a model that is retired moves to a dearer successor."""
    follows = request.POST.get("follows") == "on"
    do_follow_successors(viewer.organization_id, follows=follows, actor=viewer.email)
    moves = "even where they are dearer" if follows else "only where they cost no more"
    messages.success(request, f"Retired models move to their successors {moves}.")
    return redirect("dashboard:routing")
