"""Addresses of the pages about people, below /dashboard."""

from django.urls import path

import komilion.common.row_ids  # noqa: F401 # makes `<id:...>` known
from komilion.web.people import account, members, organizations

app_name = "people"
urlpatterns = [
    path("dashboard/members", members.members, name="members"),
    path("dashboard/members/organization", organizations.rename, name="rename"),
    path("dashboard/members/<id:membership_id>/role", members.change_role, name="change_role"),
    path("dashboard/members/<id:membership_id>/remove", members.remove, name="remove"),
    path("dashboard/members/invitations/<id:invitation_id>/again", members.invite_again, name="invite_again"),
    path(
        "dashboard/members/invitations/<id:invitation_id>/revoke", members.revoke_invitation, name="revoke_invitation"
    ),
    path("dashboard/organizations", organizations.organizations, name="organizations"),
    path("dashboard/organizations/<id:organization_id>/open", organizations.switch, name="switch"),
    path("dashboard/audit", organizations.audit_log, name="audit"),
    path("dashboard/account", account.account, name="account"),
    path("dashboard/account/time-zone", account.change_time_zone, name="time_zone"),
    path("dashboard/account/letters/<id:organization_id>", account.change_letters, name="letters"),
    path("dashboard/account/sessions", account.end_sessions, name="end_sessions"),
    path("dashboard/account/delete", account.delete_account, name="delete_account"),
]
