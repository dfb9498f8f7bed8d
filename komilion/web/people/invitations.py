"""The page behind the link of an invitation."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.actions.invitations import do_accept_invitation, do_decline_invitation, hash_token
from accounts.errors import AccountError
from accounts.models import User
from accounts.queries import invitation_by_hash
from komilion.web.middleware import ORGANIZATION_IN_SESSION


@never_cache
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Says who invites to what, and to whom; looking at it changes nothing, POST accepts."""
    row = invitation_by_hash(hash_token(token))
    if row is None:
        return render(request, "people/invitation.html", {"invitation": None}, status=404)
    person = request.user if isinstance(request.user, User) else None
    if request.method == "POST" and person is not None:
        return answer(request, row.pk, person)
    context = {
        "invitation": row,
        "person": person,
        "is_for_person": person is not None and person.email == row.email,
        "here": request.path,
    }
    return render(request, "people/invitation.html", context)


def answer(request: HttpRequest, invitation_id: int, person: User) -> HttpResponse:
    """Become a member and look at the organization; or, by the button `decline`, do not."""
    try:
        if "decline" in request.POST:
            do_decline_invitation(invitation_id, person)
            messages.success(request, "The invitation is declined.")
            return redirect("people:organizations")
        membership = do_accept_invitation(invitation_id, person)
    except AccountError as error:
        messages.error(request, str(error))
        return redirect("people:organizations")
    request.session[ORGANIZATION_IN_SESSION] = membership.organization_id
    messages.success(request, f"You are {membership.role} of {membership.organization.name} now.")
    return redirect("/dashboard")
