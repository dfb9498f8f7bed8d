"""What operators see of how people log in. People change it themselves; a lost second factor can be taken away."""

from typing import Any, override

from allauth.account.adapter import get_adapter
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.http import HttpRequest

from accounts.actions.second_factor import do_remove_second_factor
from komilion.common.admin import ReadOnlyAdmin

# Allauth registers its own, in which an operator could make herself anybody's way in.
admin.site.unregister([EmailAddress, Authenticator, SocialAccount, SocialApp, SocialToken])


@admin.register(EmailAddress)
class EmailAddressAdmin(ReadOnlyAdmin):
    """Addresses, and whether they are verified."""

    list_display = ("email", "user", "primary", "verified")
    list_select_related = ("user",)
    search_fields = ("email", "user__email")


@admin.register(Authenticator)
class AuthenticatorAdmin(ReadOnlyAdmin):
    """Second factors, without their secrets. Deleting one lets its owner in by her password alone."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("user__email",)
    exclude = ("data",)

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For who lost hers."""
        return request.user.is_superuser

    @override
    def delete_model(self, request: HttpRequest, obj: Authenticator) -> None:
        """Take it away, and tell her."""
        do_remove_second_factor(obj, actor=f"operator {request.user.get_username()}")
        adapter = get_adapter(request)
        transaction.on_commit(lambda: adapter.send_notification_mail("mfa/email/totp_deactivated", obj.user))

    @override
    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """Each of them; recovery codes may be gone with what they belong to."""
        for authenticator in queryset.order_by("type"):
            self.delete_model(request, authenticator)


@admin.register(SocialAccount)
class SocialAccountAdmin(ReadOnlyAdmin):
    """Accounts elsewhere that people log in with."""

    list_display = ("user", "provider", "uid", "last_login")
    list_select_related = ("user",)
    search_fields = ("uid", "user__email")


@admin.register(SocialApp)
class SocialAppAdmin(ReadOnlyAdmin):
    """None: what logs in elsewhere comes from the environment."""

    list_display = ("name", "provider")
    exclude = ("secret", "key", "settings")


@admin.register(SocialToken)
class SocialTokenAdmin(ReadOnlyAdmin):
    """None: tokens are not kept."""

    list_display = ("account", "expires_at")
    exclude = ("token", "token_secret")


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin):
    """What was changed on these pages."""

    list_display = ("action_time", "user", "content_type", "object_repr", "action_flag", "change_message")
    list_select_related = ("user", "content_type")
    search_fields = ("user__email", "object_repr")
    date_hierarchy = "action_time"
