"""The way back from a change of address that somebody else made: a link in the mail to the old one."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth import logout
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.actions.account import do_restore_email
from accounts.errors import AccountError
from accounts.queries import has_another_email
from komilion.web.people.mails import link_to

UNDO_DAYS = 7
SALT = "komilion.undo-email"


def undo_link(user_id: int, old_email: str) -> str:
    """The link that gives the account its old address back, for who reads the mail there."""
    changed_at = timezone.now().isoformat()
    return link_to("account_undo_email", signing.dumps([user_id, old_email, changed_at], salt=SALT))


@never_cache
@require_http_methods(["GET", "POST"])
def undo_email(request: HttpRequest, token: str) -> HttpResponse:
    """Says what the link does; POST does it."""
    user_id, email, changed_at = _read(token) or (0, "", "")
    if not has_another_email(user_id, email):
        return render(request, "account/undo_email.html", {"email": None}, status=404)
    if request.method == "POST":
        try:
            do_restore_email(user_id, email, changed_at=datetime.fromisoformat(changed_at))
        except AccountError as error:
            messages.error(request, str(error))
        else:
            logout(request)
            messages.success(request, f"{email} is the address of your account again. Set a new password now.")
            return redirect("account_reset_password")
    return render(request, "account/undo_email.html", {"email": email, "days": UNDO_DAYS})


def _read(token: str) -> Any:
    try:
        return signing.loads(token, salt=SALT, max_age=UNDO_DAYS * 86_400)
    except signing.BadSignature:  # or it is too old
        return None
