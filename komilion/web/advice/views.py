"""What a link of a letter opens: what would happen, and a form. Looking changes nothing, whoever looks how often.

Nobody needs to log in: the link is the right, to this one thing and for a while (docs/advisor.md). So these pages show
what the letter showed, and nothing else of the organization.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from accounts.access import Right
from advisor.access import Opened, access_advice, access_letters, access_samples, access_upgrade
from advisor.actions.advice import why_closed
from advisor.actions.links import do_answer_samples, do_answer_upgrade, do_follow, why_chosen
from advisor.actions.samples import KEPT_FOR
from advisor.actions.wishes import do_lessen, do_stop_alerts
from advisor.canary import STEPS
from advisor.cases import cases_of
from advisor.errors import AdviceClosed, LinkRefused
from advisor.links import Act
from advisor.models import MailWishes
from advisor.news import tell
from advisor.queries import often_of
from advisor.upgrade_report import why_answered
from advisor.words import said
from komilion.common.clock import utc_now
from routing.selection.features import HEAD_CHARACTERS, TAIL_CHARACTERS

type View = Callable[..., HttpResponse]


def for_letters(view: View) -> View:
    """What is wrong with a link is said on a page; no cache keeps any of it, no search engine lists it."""

    @wraps(view)
    def answering(request: HttpRequest, **named: str) -> HttpResponse:
        try:
            response = view(request, **named)
        except LinkRefused as error:
            response = _refused(request, str(error), error.status)
        except AdviceClosed as error:
            response = _refused(request, str(error), 409)
        response["X-Robots-Tag"] = "noindex"
        return response

    return never_cache(require_http_methods(["GET", "HEAD", "POST"])(answering))


@for_letters
def advice(request: HttpRequest, link: str) -> HttpResponse:
    """Accept or dismiss one advice: GET shows the effect, POST has it."""
    now = utc_now()
    opened = access_advice(link, now)
    context: dict[str, Any] = {
        **_person(opened),
        "advice": opened.subject,
        "words": said(opened.subject),
        "accepts": opened.link.act is Act.ACCEPT,
    }
    if request.method == "POST":
        context["advice"] = do_follow(opened, now)
        return render(request, "advice/done.html", context)
    if reason := why_closed(opened.subject, now):
        return _refused(request, reason, 409)
    return render(request, "advice/open.html", context)


@for_letters
def upgrade(request: HttpRequest, upgrade_link: str) -> HttpResponse:
    """Agree to the upgrade of a pin, or decline it: GET shows what follows, POST has it."""
    opened = access_upgrade(upgrade_link, utc_now())
    context: dict[str, Any] = {
        **_person(opened),
        "upgrade": opened.subject,
        "agrees": opened.link.act is Act.AGREE,
        "share": STEPS[0] // 100,
    }
    if request.method == "POST":
        context["upgrade"] = do_answer_upgrade(opened, utc_now())
        return render(request, "advice/upgrade_done.html", context)
    if reason := why_answered(opened.subject):
        return _refused(request, reason, 409)
    (told,) = tell([opened.subject])
    return render(request, "advice/upgrade.html", {**context, "told": told, "cases": len(cases_of(opened.subject))})


@for_letters
def samples(request: HttpRequest, prompts_link: str) -> HttpResponse:
    """Say whether typical prompts may be kept: GET explains, POST with an answer answers for the organization, once."""
    opened = access_samples(prompts_link, utc_now())
    answer = request.POST.get("keep", "")
    context: dict[str, Any] = {
        **_person(opened),
        "organization_id": opened.viewer.organization_id,
        "characters": HEAD_CHARACTERS + TAIL_CHARACTERS,
        "days": KEPT_FOR.days,
    }
    if answer in {"yes", "no"}:
        do_answer_samples(opened, utc_now(), allowed=answer == "yes")
        context["answer"] = answer
    elif reason := why_chosen(opened.viewer.organization_id):
        return _refused(request, reason, 409)
    return render(request, "advice/prompts.html", context)


@csrf_exempt  # mail programs post without having seen the page (RFC 8058); the link itself is the proof
@for_letters
def letters(request: HttpRequest, letters_link: str) -> HttpResponse:
    """Stop the letters, or have one a month: GET shows the buttons; a POST that says nothing else stops them.

    Whoever has the letter may have fewer sent, never more than the member wishes. By the link of an alert, the same for
    alerts, of which there are not fewer to be had.
    """
    opened = access_letters(letters_link, utc_now())
    context = _person(opened)
    if opened.link.act is Act.ALERTS:
        if request.method == "POST":
            do_stop_alerts(opened.viewer.membership_id)
        return render(request, "advice/alerts.html", {**context, "is_stopped": request.method == "POST"})
    if request.method == "POST":
        is_monthly = request.POST.get("often") == MailWishes.Often.MONTHLY
        wanted = MailWishes.Often.MONTHLY if is_monthly else MailWishes.Often.OFF
        context["often"] = do_lessen(opened.viewer.membership_id, wanted)
    else:
        context["often"] = often_of(opened.viewer.membership_id)
    return render(request, "advice/letters.html", context)


def _person(opened: Opened[Any]) -> dict[str, Any]:
    """Who acts, for whom, and whether she may."""
    viewer = opened.viewer
    return {"organization": viewer.organization_name, "email": viewer.email, "may_act": viewer.may(Right.KEYS)}


def _refused(request: HttpRequest, reason: str, status: int) -> HttpResponse:
    return render(request, "advice/refused.html", {"reason": reason}, status=status)
