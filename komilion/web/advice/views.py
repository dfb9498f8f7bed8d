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
from advisor.access import access_advice, access_letters
from advisor.actions.advice import do_follow, why_closed
from advisor.actions.wishes import do_lessen, do_stop_alerts
from advisor.errors import AdviceClosed, LinkRefused
from advisor.links import Act
from advisor.models import MailWishes
from advisor.queries import often_of
from advisor.words import said
from komilion.common.clock import utc_now

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
    assert opened.advice is not None
    context: dict[str, Any] = {
        "advice": opened.advice,
        "words": said(opened.advice),
        "accepts": opened.link.act is Act.ACCEPT,
        "organization": opened.viewer.organization_name,
        "email": opened.viewer.email,
        "may_act": opened.viewer.may(Right.KEYS),
    }
    if request.method == "POST":
        context["advice"] = do_follow(opened, now)
        return render(request, "advice/done.html", context)
    if reason := why_closed(opened.advice, now):
        return _refused(request, reason, 409)
    return render(request, "advice/open.html", context)


@csrf_exempt  # mail programs post without having seen the page (RFC 8058); the link itself is the proof
@for_letters
def letters(request: HttpRequest, letters_link: str) -> HttpResponse:
    """Stop the letters, or have one a month: GET shows the buttons; a POST that says nothing else stops them.

    Whoever has the letter may have fewer sent, never more than the member wishes. By the link of an alert, the same for
    alerts, of which there are not fewer to be had.
    """
    opened = access_letters(letters_link, utc_now())
    context: dict[str, Any] = {"organization": opened.viewer.organization_name, "email": opened.viewer.email}
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


def _refused(request: HttpRequest, reason: str, status: int) -> HttpResponse:
    return render(request, "advice/refused.html", {"reason": reason}, status=status)
