"""A person's own account."""

from allauth.account.adapter import get_adapter
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout, update_session_auth_hash
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.actions.account import do_end_sessions, do_set_time_zone
from accounts.errors import AccountError
from accounts.models import User
from accounts.queries import pending_email
from advisor.actions.wishes import do_set_wishes
from advisor.queries import wishes_of
from komilion.common.errors import NotFound
from komilion.web.people.forms import DeleteAccountForm, LettersForm, TimeZoneForm, sent
from komilion.web.people.mails import deliver
from komilion.web.people.person import with_person
from komilion.web.tenants import do_close_account, why_account_stays


@require_safe
@with_person
def account(request: HttpRequest, person: User) -> HttpResponse:
    """Everything about it, with ways to change it."""
    context = {
        "person": person,
        "pending_email": pending_email(person),
        "has_second_factor": is_mfa_enabled(person),
        "has_social_logins": bool(settings.SOCIAL_LOGINS),
        "form": TimeZoneForm(initial={"time_zone": person.time_zone}),
        "letters": [(wishes, LettersForm.of(wishes)) for wishes in wishes_of(person.pk)],
    }
    return render(request, "people/account.html", context)


@require_POST
@with_person
def change_letters(request: HttpRequest, person: User, organization_id: int) -> HttpResponse:
    """How often the advisor writes to her about one of her organizations."""
    wishes = next((row for row in wishes_of(person.pk) if row.organization_id == organization_id), None)
    if wishes is None:
        raise NotFound("You belong to no such organization.")
    form = LettersForm(request.POST)
    if form.is_valid():
        chosen = form.cleaned_data
        do_set_wishes(wishes.membership_id, chosen["often"], wants_alerts=chosen["wants_alerts"])
        messages.success(request, f"Your choice for {wishes.organization} is kept.")
    else:
        messages.error(request, "Choose weekly, monthly or never.")
    return redirect("people:account")


@require_POST
@with_person
def change_time_zone(request: HttpRequest, person: User) -> HttpResponse:
    """Show times in another zone."""
    if do_set_time_zone(person.pk, request.POST.get("time_zone", "")):
        messages.success(request, "Times are shown in your zone now.")
    else:
        messages.error(request, "There is no such time zone.")
    return redirect("people:account")


@require_POST
@with_person
def end_sessions(request: HttpRequest, person: User) -> HttpResponse:
    """Log out everywhere but here."""
    do_end_sessions(person)
    update_session_auth_hash(request, person)
    messages.success(request, "You are logged out everywhere but here.")
    return redirect("people:account")


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
@with_person
def delete_account(request: HttpRequest, person: User) -> HttpResponse:
    """Asks for the password, then deletes it; without a password, for the address."""
    form = DeleteAccountForm(person, sent(request))
    if request.method == "POST" and form.is_valid() and _is_herself(request, person, form):
        email = person.email
        try:
            do_close_account(person)
        except AccountError as error:
            form.add_error(None, str(error))
        else:
            logout(request)
            deliver("account_deleted", email, {}, subject="Your account is deleted", on_done=lambda _sent: None)
            messages.success(request, "Your account is deleted.")
            return redirect("/")
    context = {
        "form": form,
        "obstacle": "" if form.is_bound else why_account_stays(person),
        "evidence_days": settings.PAYMENT_EVIDENCE_DAYS,
    }
    return render(request, "people/delete_account.html", context)


def _is_herself(request: HttpRequest, person: User, form: DeleteAccountForm) -> bool:
    if not person.has_usable_password():
        return True
    try:
        if get_adapter(request).reauthenticate(person, form.cleaned_data["password"]):
            return True
    except ValidationError as error:
        form.add_error("password", error)
        return False
    form.add_error("password", "This is not your password.")
    return False
