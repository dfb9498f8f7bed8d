"""Verifying an address: the link of the mail, and the mail once more."""

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.email_verification import (
    send_verification_email_at_login,
    verify_email_and_resume,
)
from allauth.account.internal.flows.login import perform_password_login
from allauth.account.internal.stagekit import unstash_login
from allauth.account.models import EmailConfirmationHMAC, Login
from allauth.account.stages import EmailVerificationStage, LoginStageController
from django.contrib import messages
from django.contrib.auth import logout
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts.models import User
from komilion.web.people.forms import PasswordForm, sent


@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "POST"])
def confirm_email(request: HttpRequest, key: str) -> HttpResponse:
    """The page behind the mailed link. It takes effect by POST, from whoever knows the account's password.

    Somebody could sign up with another's address and wait for her to follow the link; the account would then be hers
    with a password that he knows. The browser that signed up or is logged in has shown the password already.
    """
    confirmation = EmailConfirmationHMAC.from_key(key)
    if confirmation is None:
        return render(request, "account/email_confirm.html", {"confirmation": None}, status=404)
    person = confirmation.email_address.user
    form = None if _is_proven(request, person) else PasswordForm(sent(request))
    if request.method == "POST" and (form is None or _knows_password(request, person, form)):
        return _confirm(request, confirmation, person, log_in=form is not None)
    context = {"confirmation": confirmation, "form": form, "has_password": person.has_usable_password()}
    return render(request, "account/email_confirm.html", context)


def _is_proven(request: HttpRequest, person: User) -> bool:
    if request.user.is_authenticated:
        return request.user.pk == person.pk
    stage = LoginStageController.enter(request, EmailVerificationStage.key)
    return stage is not None and stage.login.user is not None and stage.login.user.pk == person.pk


def _knows_password(request: HttpRequest, person: User, form: PasswordForm) -> bool:
    if not form.is_valid():
        return False
    try:
        found = get_adapter(request).authenticate(request, email=person.email, password=form.cleaned_data["password"])
    except ValidationError as error:
        form.add_error("password", error)
        return False
    if found is None or found.pk != person.pk:
        form.add_error("password", "This is not the password that the account was made with.")
        return False
    return True


def _confirm(request: HttpRequest, confirmation: Any, person: User, *, log_in: bool) -> HttpResponse:
    address, response = verify_email_and_resume(request, confirmation)
    if response is not None:
        return response  # type: ignore[no-any-return]
    if address is None:
        return redirect("account_login")
    if log_in:
        if request.user.is_authenticated:
            logout(request)
        person.refresh_from_db()
        credentials = {"email": person.email}
        return perform_password_login(request, credentials, Login(user=person, email=person.email))  # type: ignore[no-any-return]
    return redirect("people:account" if request.user.is_authenticated else "account_login")


@require_POST
def send_again(request: HttpRequest) -> HttpResponse:
    """Mail the link once more to who is waiting for it."""
    login = unstash_login(request, peek=True)
    if login is None:
        messages.info(request, "Log in, and the e-mail is sent again.")
        return redirect("account_login")
    if not send_verification_email_at_login(request, login):
        messages.warning(request, "An e-mail was sent less than a minute ago, or ten within a day. Look for it first.")
    return redirect("account_email_verification_sent")
