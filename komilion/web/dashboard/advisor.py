"""`/dashboard/advisor`: what could be done better, what was done and what it brought, upgrades, prompts and cases."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.access import Right, Viewer
from advisor.actions.advice import advisee, do_accept, do_dismiss
from advisor.actions.samples import (
    Member,
    NewCase,
    do_add_case,
    do_choose_samples,
    do_delete_case,
    do_delete_samples,
)
from advisor.advice import ABOUT_KEYS, PINS
from advisor.errors import AdviceClosed
from advisor.letter import compare_url
from advisor.models import Advice, EvaluationCase
from advisor.page_queries import (
    board_of,
    cases_of,
    has_evidence,
    hits_of,
    hits_of_all,
    prompts_of,
)
from advisor.queries import upgrades_of
from advisor.replay_cost import replays_of
from advisor.rules import Rules
from advisor.upgrade_report import told
from advisor.words import Said, said
from komilion.common.clock import utc_now
from komilion.common.errors import BadRequest, Conflict, KomilionError, NotFound
from komilion.common.row_ids import row_id
from komilion.web.dashboard.forms import CaseForm
from komilion.web.dashboard.pin_form import PinForm
from komilion.web.dashboard.words import UPGRADES
from komilion.web.guards import with_viewer
from routing.selection.queries import pins_of
from routing.selection.words import TASKS

UPGRADES_MOST = 20


@dataclass(frozen=True, slots=True)
class Card:
    """One open advice, and what can be done about it; an address is empty where it cannot."""

    advice: Advice
    words: Said
    percent: int  # how sure it is
    can_accept: bool
    compare: str
    key: str  # the page of the key that it is about


@require_safe
@with_viewer()
@never_cache
def show(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """All of it on one page."""
    return page(request, viewer)


def page(
    request: HttpRequest,
    viewer: Viewer,
    *,
    case_form: CaseForm | None = None,
    pin_form: PinForm | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page; a form that is given stands in the place of a fresh one."""
    organization_id, now = viewer.organization_id, utc_now()
    board, pins, cases = board_of(organization_id, now), pins_of(organization_id), cases_of(organization_id)
    outcomes, prompts = board.outcomes, prompts_of(organization_id)
    upgrades = [told(row) for row in upgrades_of(organization_id, now, UPGRADES_MOST)]
    running = [each for each in upgrades if each.upgrade.ended_at is None]
    context = {
        "cards": [_card(row) for row in board.waiting],
        "outcomes": outcomes,
        "saved_nano": sum(outcome.saved_nano for outcome in outcomes),
        "measured": sum(outcome.weeks_compared for outcome in outcomes),
        "hits": hits_of(outcomes),
        "hits_of_all": hits_of_all(now),
        "has_evidence": bool(board.waiting) or has_evidence(organization_id),
        "rules": Rules(),
        "pin_forms": [pin_form if pin_form and pin_form.pin.pk == pin.pk else PinForm(pin) for pin in pins],
        "taken": UPGRADES,
        "running": sorted(running, key=lambda each: not each.can_be_answered),
        "ended": [each for each in upgrades if each.upgrade.ended_at is not None],
        "prompts": prompts,
        "cases": cases,
        "replays": replays_of(cases, pins),
        "form": case_form or CaseForm(organization_id),
        "tasks": TASKS,
    }
    return render(request, "dashboard/advisor.html", context, status=status)


def _card(row: Advice) -> Card:
    is_pin = row.kind in PINS and bool(row.model)
    return Card(
        advice=row,
        words=said(row),
        percent=round(100 * row.confidence),
        can_accept=is_pin,
        compare=compare_url(row) if is_pin else "",
        key=reverse("keys:one", args=[row.subject]) if row.kind in ABOUT_KEYS else "",
    )


@require_POST
@with_viewer(Right.KEYS)
def accept(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """Pin what is recommended."""
    try:
        advice = do_accept(advisee(viewer), number(request, "advice"), utc_now())
    except (AdviceClosed, BadRequest, NotFound) as error:
        messages.error(request, _message(error))
    else:
        messages.success(request, f"{advice.model} answers requests of “{advice.task}” that name no model from now on.")
    return redirect("dashboard:advisor")


@require_POST
@with_viewer(Right.KEYS)
def dismiss(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """Hear no more of it for a while."""
    try:
        do_dismiss(advisee(viewer), number(request, "advice"), utc_now())
    except (AdviceClosed, NotFound) as error:
        messages.error(request, _message(error))
    else:
        messages.success(request, "You will not hear of it for eight weeks, and then only if it would save far more.")
    return redirect("dashboard:advisor")


@require_POST
@with_viewer(Right.KEYS)
def choose_samples(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """Let prompts be kept, or no longer. What says neither changes nothing."""
    answer = request.POST.get("keep", "")
    if answer in {"yes", "no"}:
        do_choose_samples(_member(viewer), allowed=answer == "yes", now=utc_now())
        kept = "Typical prompts are kept, redacted, for 14 days." if answer == "yes" else "No prompt is kept."
        messages.success(request, kept)
    else:
        messages.error(request, "Choose whether prompts may be kept.")
    return redirect("dashboard:advisor")


@require_POST
@with_viewer(Right.KEYS)
def delete_samples(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """Remove all that are kept."""
    deleted = do_delete_samples(_member(viewer))
    messages.success(request, f"Deleted: {deleted} kept prompt{'' if deleted == 1 else 's'}.")
    return redirect("dashboard:advisor")


@require_POST
@with_viewer(Right.KEYS)
def add_case(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """Keep a case; what is wrong with it is said beside its fields."""
    form = CaseForm(viewer.organization_id, request.POST)
    if form.is_valid():
        try:
            case = do_add_case(_member(viewer), _case(form.cleaned_data), utc_now())
        except (BadRequest, Conflict) as error:
            form.add_error(None, error.message)
        else:
            messages.success(request, f"The case “{case.name}” is kept.")
            return redirect("dashboard:advisor")
    return page(request, viewer, case_form=form, status=422)


@require_POST
@with_viewer(Right.KEYS)
def delete_case(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """Remove one; where somebody else did so before, nothing is left to do."""
    try:
        case = do_delete_case(_member(viewer), number(request, "case"))
    except NotFound as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"The case “{case.name}” is deleted.")
    return redirect("dashboard:advisor")


def _case(chosen: dict[str, Any]) -> NewCase:
    return NewCase(
        task=chosen["task"],
        name=chosen["name"],
        prompt=chosen["prompt"],
        check_kind=EvaluationCase.Check(chosen["check_kind"]),
        expected=chosen["expected"],
    )


def _member(viewer: Viewer) -> Member:
    return Member(viewer.organization_id, viewer.email)


def number(request: HttpRequest, name: str) -> int:
    """The id that a form names; 0, which no row has, for what is none."""
    return row_id(request.POST.get(name, "")) or 0


def _message(error: Exception) -> str:
    return error.message if isinstance(error, KomilionError) else str(error)
