"""Organizations of a person: which one she looks at, a new one, its name, and what happened in it."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import Right, Viewer
from accounts.actions.organizations import do_rename
from accounts.errors import AccountError
from accounts.models import User
from accounts.queries import audit_entries, invitations_to, is_member, organizations_of
from komilion.common.errors import NotFound
from komilion.common.row_ids import row_id
from komilion.web.guards import with_viewer
from komilion.web.middleware import ORGANIZATION_IN_SESSION
from komilion.web.people import limits
from komilion.web.people.adapters import tell_about_trial
from komilion.web.people.forms import OrganizationForm
from komilion.web.people.invitations import answer
from komilion.web.people.person import answer_of, with_person
from komilion.web.tenants import do_ensure_trial, do_open_another_tenant

AUDIT_ENTRIES_PER_PAGE = 50


@require_http_methods(["GET", "POST"])
@with_person
def organizations(request: HttpRequest, person: User) -> HttpResponse:
    """Hers, and invitations to others; POST makes a new one, or answers an invitation by its `invitation` id."""
    form = OrganizationForm()
    if request.method == "POST":
        mine = {row.pk for row in invitations_to(person.email)}
        chosen = row_id(request.POST.get("invitation", ""))
        if chosen in mine:
            return answer(request, chosen, person)
        form = OrganizationForm(request.POST)
        if form.is_valid() and _found(request, person, form):
            return redirect("/dashboard")
    context = {
        "memberships": organizations_of(person.pk),
        "invitations": invitations_to(person.email),
        "form": form,
    }
    return render(request, "people/organizations.html", context)


def _found(request: HttpRequest, person: User, form: OrganizationForm) -> bool:
    try:
        membership = do_open_another_tenant(person, form.cleaned_data["name"])
    except (AccountError, ValidationError) as error:
        form.add_error("name", str(error) if isinstance(error, AccountError) else error.messages)
        return False
    request.session[ORGANIZATION_IN_SESSION] = membership.organization_id
    messages.success(request, f"{membership.organization.name} is made, and you are its owner.")
    trial = do_ensure_trial(person, limits.TrialsHere.of(request))
    tell_about_trial(request, trial, is_new=False)
    return True


@require_POST
@with_person
def switch(request: HttpRequest, person: User, organization_id: int) -> HttpResponse:
    """Look at another of her organizations from now on; `next` is a page of the dashboard to go on with."""
    if not is_member(person.pk, organization_id):
        raise NotFound("There is no such organization.")
    request.session[ORGANIZATION_IN_SESSION] = organization_id
    wanted = request.POST.get("next", "")
    is_ours = wanted.startswith("/dashboard") and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
    return redirect(wanted if is_ours else "/dashboard")


@require_POST
@with_viewer(Right.MEMBERS)
def rename(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Give the organization another name."""
    form = OrganizationForm(request.POST)
    if form.is_valid():
        do_rename(viewer.organization_id, form.cleaned_data["name"], actor=viewer.email)
        messages.success(request, "The organization has its new name.")
    else:
        messages.error(request, f"The name was not changed: {answer_of(request, form)}")
    return redirect("people:members")


@require_safe
@with_viewer(Right.AUDIT)
def audit_log(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Who changed what, the newest first; `before` is the id of an entry."""
    before_id = row_id(request.GET.get("before", ""))
    rows = audit_entries(viewer.organization_id, before_id=before_id, limit=AUDIT_ENTRIES_PER_PAGE + 1)
    shown, rest = rows[:AUDIT_ENTRIES_PER_PAGE], rows[AUDIT_ENTRIES_PER_PAGE:]
    here = reverse("people:audit")
    context = {
        "entries": shown,
        "newest": here if before_id is not None else None,
        "older": f"{here}?before={shown[-1].pk}" if rest else None,
    }
    return render(request, "people/audit.html", context)
