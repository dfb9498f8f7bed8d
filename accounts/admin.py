"""What operators see and may change of accounts: tier and suspension, by the actions that running processes hear of."""

from typing import Any, override

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import identity_admin  # noqa: F401 - registers how people log in
from accounts.actions.audit import do_audit
from accounts.actions.organizations import do_change_tier, do_suspend, do_unsuspend
from accounts.models import ApiKey, AuditEntry, Invitation, Membership, Organization, TrialDay, TrialGrant, User
from komilion.common.admin import ReadOnlyAdmin

RIGHTS = ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(User)
class PersonAdmin(UserAdmin):  # type: ignore[type-arg]  # as below
    """People, by e-mail address."""

    ordering = ("email",)
    list_display = ("email", "is_active", "is_staff", "date_joined", "last_login")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email",)
    fieldsets = (
        (None, {"fields": ("email", "password", "time_zone")}),
        ("Rights", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "password1", "password2")}),)
    readonly_fields = ("last_login", "date_joined")

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Her address is changed by herself, who proves that she reads it; rights are given by who has all of them."""
        fields = tuple(super().get_readonly_fields(request, obj))
        if obj is not None:
            fields += ("email",)
        return fields if request.user.is_superuser else (*fields, *RIGHTS)

    @override
    def log_addition(self, request: HttpRequest, obj: User, message: Any) -> Any:
        """In the audit log too."""
        _audit_person(request, obj, "person.add", message)
        return super().log_addition(request, obj, message)

    @override
    def log_change(self, request: HttpRequest, obj: User, message: Any) -> Any:
        """In the audit log too: rights, deactivation, a password that was set for her."""
        _audit_person(request, obj, "person.change", message)
        return super().log_change(request, obj, message)

    @override
    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """People delete their accounts themselves; operators deactivate them."""
        return False


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]  # generic only in its stubs
    """Who belongs to it."""

    model = Membership
    extra = 0
    can_delete = False
    fields = readonly_fields = ("user", "role", "created_at")

    @override
    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        """People are invited."""
        return False


@admin.register(Organization)
class OrganizationAdmin(ReadOnlyAdmin):
    """Tenants."""

    list_display = ("id", "name", "tier", "is_suspended", "created_at")
    list_filter = ("tier", ("suspended_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "memberships__user__email")
    fields = ("name", "tier", "limits", "suspended_at", "created_at")
    readonly_fields = ("name", "limits", "suspended_at", "created_at")
    inlines = (MembershipInline,)
    actions = ("suspend", "unsuspend")

    @admin.display(boolean=True, description="suspended")
    def is_suspended(self, organization: Organization) -> bool:
        """Whether its calls are refused."""
        return organization.suspended_at is not None

    @override
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The tier, and the two actions."""
        return request.user.is_superuser

    @override
    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        """The tier is all that can have changed."""
        if "tier" in form.changed_data:
            do_change_tier(obj, obj.tier, actor=_actor(request))

    @admin.action(description="Suspend: refuse every call", permissions=["change"])
    def suspend(self, request: HttpRequest, chosen: "QuerySet[Organization]") -> None:
        """Takes effect with the next hold."""
        for organization in chosen:
            do_suspend(organization, actor=_actor(request))

    @admin.action(description="End the suspension", permissions=["change"])
    def unsuspend(self, request: HttpRequest, chosen: "QuerySet[Organization]") -> None:
        """Likewise."""
        for organization in chosen:
            do_unsuspend(organization, actor=_actor(request))


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    """Who belongs to what."""

    list_display = ("user", "organization", "role", "created_at")
    list_select_related = ("user", "organization")
    search_fields = ("user__email", "organization__name")


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Keys; their secrets exist nowhere."""

    list_display = ("hint", "name", "organization", "created_at", "expires_at", "revoked_at")
    list_select_related = ("organization",)
    search_fields = ("hint", "name", "organization__name")
    exclude = ("key_hash",)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Who changed what."""

    list_display = ("created_at", "actor", "action", "subject", "organization_id")
    list_filter = ("action",)
    search_fields = ("actor", "subject")
    date_hierarchy = "created_at"


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    """Open and used invitations."""

    list_display = ("email", "organization", "role", "invited_by", "expires_at", "accepted_at", "revoked_at")
    list_select_related = ("organization",)
    search_fields = ("email",)
    exclude = ("token_hash",)


@admin.register(TrialGrant)
class TrialGrantAdmin(ReadOnlyAdmin):
    """Trial credit given away."""

    list_display = ("organization_id", "amount_nano", "created_at")
    date_hierarchy = "created_at"
    exclude = ("address_hash",)


@admin.register(TrialDay)
class TrialDayAdmin(ReadOnlyAdmin):
    """Trial credit given away on each day."""

    list_display = ("day", "granted_nano")


def _audit_person(request: HttpRequest, person: User, action: str, message: Any) -> None:
    now = {name: getattr(person, name) for name in ("is_active", "is_staff", "is_superuser")}
    do_audit(None, actor=_actor(request), action=action, subject=person.email, detail={"changed": message, **now})


def _actor(request: HttpRequest) -> str:
    return f"operator {request.user.get_username()}"
