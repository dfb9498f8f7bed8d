"""What people do on `/dashboard/advisor` with the upgrades of their pins: allow them, agree, decline."""

from collections.abc import Callable
from datetime import datetime

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from accounts.access import Right, Viewer
from advisor.actions.advice import advisee
from advisor.actions.upgrades import do_agree, do_decline
from advisor.models import Upgrade
from advisor.upgrade_report import after_answer
from komilion.common.clock import utc_now
from komilion.common.errors import BadRequest, Conflict, NotFound
from komilion.web.dashboard.advisor import number, page
from komilion.web.dashboard.pin_form import PinForm
from komilion.web.guards import with_viewer
from routing.actions.pins import Pinner, do_set_ceiling, do_set_upgrades
from routing.selection.models import Pin
from routing.selection.queries import pins_of


@require_POST
@with_viewer(Right.KEYS)
def set_upgrades(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """How a pin takes newer models, and what these may cost; what is wrong with it is said beside its fields."""
    pin = next((pin for pin in pins_of(viewer.organization_id) if pin.task == request.POST.get("task")), None)
    if pin is None:
        messages.error(request, "There is no such pin any more.")
        return redirect("dashboard:advisor")
    form = PinForm(pin, request.POST)
    if not form.is_valid():
        return page(request, viewer, pin_form=form, status=422)
    try:
        _do_set(Pinner(viewer.organization_id, viewer.email), form)
    except (BadRequest, NotFound) as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"Newer models for “{pin.task}”: kept as you set it.")
    return redirect("dashboard:advisor")


def _do_set(pinner: Pinner, form: PinForm) -> None:
    with transaction.atomic():
        do_set_upgrades(pinner, form.pin.task, Pin.Upgrades(form.cleaned_data["upgrades"]))
        if form.ceiling is not None:
            do_set_ceiling(pinner, form.pin.task, form.ceiling)


@require_POST
@with_viewer(Right.KEYS)
def agree(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """Have the newer model judged and tried."""
    return _answer(request, viewer, do_agree)


@require_POST
@with_viewer(Right.KEYS)
def decline(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """Leave the pin as it is."""
    return _answer(request, viewer, do_decline)


def _answer(request: HttpRequest, viewer: Viewer, act: Callable[[Pinner, int, datetime], Upgrade]) -> HttpResponseBase:
    try:
        upgrade = act(advisee(viewer), number(request, "upgrade"), utc_now())
    except (Conflict, NotFound) as error:
        messages.error(request, error.message)
    else:
        messages.success(request, after_answer(upgrade))
    return redirect("dashboard:advisor")
