"""The members of an organization, and who is invited to it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import Right, Viewer
from accounts.actions.invitations import Invited, do_invite, do_invite_again, do_revoke_invitation
from accounts.actions.members import do_change_role, do_remove_member
from accounts.errors import AccountError
from accounts.queries import members_of, open_invitations_of
from komilion.common.clock import utc_now
from komilion.common.errors import NotFound
from komilion.web.guards import with_viewer
from komilion.web.middleware import ORGANIZATION_IN_SESSION
from komilion.web.people.forms import InvitationForm, OrganizationForm, RoleForm, sent
from komilion.web.people.mails import deliver, link_to


@require_http_methods(["GET", "POST"])
@with_viewer()
def members(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Who belongs to it, in which role; POST invites somebody."""
    form = InvitationForm(sent(request))
    if request.method == "POST":
        viewer.must(Right.MEMBERS)
        if form.is_valid() and _invite(request, viewer, form):
            return redirect("people:members")
    context = {
        "members": members_of(viewer.organization_id),
        "invitations": open_invitations_of(viewer.organization_id) if viewer.may(Right.MEMBERS) else [],
        "roles": RoleForm.base_fields["role"].choices,  # type: ignore[attr-defined]
        "now": utc_now(),
        "form": form,
        "rename_form": OrganizationForm(initial={"name": viewer.organization_name}),
    }
    return render(request, "people/members.html", context)


def _invite(request: HttpRequest, viewer: Viewer, form: InvitationForm) -> bool:
    try:
        invited = do_invite(
            viewer.organization_id, form.cleaned_data["email"], form.cleaned_data["role"], actor=viewer.email
        )
    except AccountError as error:
        form.add_error("email", str(error))
        return False
    _send(request, viewer, invited)
    return True


@require_POST
@with_viewer(Right.MEMBERS)
def invite_again(request: HttpRequest, viewer: Viewer, invitation_id: int) -> HttpResponse:
    """A new link for the same person; the one sent before is worth nothing then."""
    try:
        invited = do_invite_again(viewer.organization_id, invitation_id, actor=viewer.email)
    except AccountError as error:
        messages.error(request, str(error))
    else:
        _send(request, viewer, invited)
    return redirect("people:members")


def _send(request: HttpRequest, viewer: Viewer, invited: Invited) -> None:
    to = invited.row.email

    def report(sent: bool) -> None:
        if sent:
            messages.success(request, f"We sent an invitation to {to}.")
        else:
            messages.error(request, f"The e-mail to {to} could not be sent. The invitation is kept: send it again.")

    context = {
        "organization": invited.organization.name,
        "invited_by": viewer.email,
        "role": invited.row.role,
        "link": link_to("invitations:open", invited.token),
        "expires_at": invited.row.expires_at,
    }
    subject = f"{viewer.email} invites you to {invited.organization.name}"
    deliver("invitation", to, context, subject=subject, on_done=report)


@require_POST
@with_viewer(Right.MEMBERS)
def revoke_invitation(request: HttpRequest, viewer: Viewer, invitation_id: int) -> HttpResponse:
    """Its link is worth nothing from now on."""
    do_revoke_invitation(viewer.organization_id, invitation_id, actor=viewer.email)
    messages.success(request, "The invitation is revoked.")
    return redirect("people:members")


@require_POST
@with_viewer(Right.MEMBERS)
def change_role(request: HttpRequest, viewer: Viewer, membership_id: int) -> HttpResponse:
    """Give a member another role."""
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, "There is no such role.")
        return redirect("people:members")
    try:
        member = do_change_role(viewer.organization_id, membership_id, form.cleaned_data["role"], actor=viewer.email)
    except AccountError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{member.user.email} is {member.role} now.")
    return redirect("people:members")


@require_http_methods(["GET", "POST"])
@with_viewer()
def remove(request: HttpRequest, viewer: Viewer, membership_id: int) -> HttpResponse:
    """Asks what becomes of the member's keys, then ends the membership; everybody may end her own."""
    leaves = membership_id == viewer.membership_id
    if not leaves:
        viewer.must(Right.MEMBERS)
    member = next((row for row in members_of(viewer.organization_id) if row.pk == membership_id), None)
    if member is None:
        raise NotFound("There is no such member.")
    if request.method == "POST":
        try:
            removed = do_remove_member(
                viewer.organization_id,
                membership_id,
                revoke_keys=request.POST.get("keys") != "keep",
                actor=viewer.email,
            )
        except AccountError as error:
            messages.error(request, str(error))
            return redirect("people:members")
        return _removed(request, viewer, removed.email, leaves=leaves)
    return render(request, "people/remove.html", {"member": member, "leaves": leaves})


def _removed(request: HttpRequest, viewer: Viewer, email: str, *, leaves: bool) -> HttpResponse:
    if leaves:
        request.session.pop(ORGANIZATION_IN_SESSION, None)
        messages.success(request, f"You left {viewer.organization_name}.")
        return redirect("people:organizations")
    messages.success(request, f"{email} is no member any more.")
    return redirect("people:members")
