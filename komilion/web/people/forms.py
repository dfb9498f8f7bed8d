"""Forms of sign-up and of the pages about people."""

from typing import Any, Self, override

from allauth.account.forms import ResetPasswordForm as AllauthResetPasswordForm
from allauth.account.forms import SignupForm as AllauthSignupForm
from allauth.core import context, ratelimit
from django import forms
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.actions.account import do_set_time_zone, time_zones
from accounts.actions.signup import do_drop_unverified
from accounts.addresses import NOT_PLAIN, is_plain
from accounts.models import Role, User
from accounts.queries import is_taken
from advisor.queries import Wishes
from komilion.common.names import hidden_characters

ADDRESS_CHARACTERS = 254  # RFC 5321, and our columns
MAILBOX_CHARACTERS = 64


def sent(request: HttpRequest) -> QueryDict | None:
    """What a form is bound to: what was posted, be it nothing; None for a page that is only looked at."""
    return request.POST if request.method == "POST" else None


def plain_address(email: str) -> str:
    """The address. Raises `ValidationError` for a spelling that is not taken."""
    if not is_plain(email):
        raise ValidationError(NOT_PLAIN)
    return email


class SignupForm(AllauthSignupForm):
    """Sign-up. The browser's time zone comes along where a script could fill it in."""

    time_zone = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    @override
    def clean(self) -> dict[str, Any]:
        """All fields; an address that can get no mail now is told to wait, whether it has an account or not.

        A new sign-up voids the link that was mailed before it. Without a mail of its own no link would be left.
        """
        cleaned: dict[str, Any] = super().clean()
        if not self.errors:
            reason = _why_no_mail(cleaned["email"])
            if reason:
                self.add_error("email", reason)
        return cleaned

    @override
    def validate_unique_email(self, value: str) -> str:
        """An address belongs to who verified it: a sign-up that nobody verified is in nobody's way."""
        self.account_already_exists = is_taken(value)
        return value

    @override
    def try_save(self, request: HttpRequest) -> tuple[AbstractBaseUser | None, HttpResponse | None]:
        """The new person, or the answer for an address that has an account: the same page, and another mail."""
        if not self.account_already_exists:
            try:
                with transaction.atomic():
                    do_drop_unverified(self.cleaned_data["email"])
                    return super().try_save(request)  # type: ignore[no-any-return]
            except IntegrityError:  # somebody signed up with the address at this very moment
                self.account_already_exists = True
        make_password(self.cleaned_data["password1"])  # takes as long as it does for a new account
        return super().try_save(request)  # type: ignore[no-any-return]

    def custom_signup(self, request: HttpRequest, user: Any) -> None:
        """Allauth calls this with the person just made."""
        super().custom_signup(request, user)
        do_set_time_zone(user.pk, self.cleaned_data["time_zone"])


def _why_no_mail(email: str) -> str:
    """Why no link can be mailed to who signs up with this address; empty: it can, and this sign-up is counted."""
    request = context.request
    if not (
        ratelimit.consume(request, action="confirm_email", key=email, dry_run=True)
        and ratelimit.consume(request, action="signup_mail", key=email)
    ):
        return "An e-mail went there less than a minute ago, or ten within a day. Follow its link, or try again later."
    if not ratelimit.consume(request, action="signup_address", key=email):
        return "Too many sign-ups with this address. Try again in an hour."
    return ""


class ResetPasswordForm(AllauthResetPasswordForm):
    """Only an address that is somebody's own gets a link, not one that she is about to change to."""

    users: list[User]

    @override
    def clean_email(self) -> str:
        """Sets `users`, as allauth expects."""
        email: str = super().clean_email()
        self.users = [user for user in self.users if user.email == email.lower()]
        return email


class PasswordForm(forms.Form):
    """Shows that the person herself sits there."""

    password = forms.CharField(
        strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}), label="Password"
    )


class DeleteAccountForm(PasswordForm):
    """The same, and for who logs in by another account only: her address, typed."""

    email = forms.EmailField(label="Your e-mail address", widget=forms.EmailInput(attrs={"autocomplete": "off"}))

    def __init__(self, person: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._person = person
        del self.fields["email" if person.has_usable_password() else "password"]

    def clean_email(self) -> str:
        """Hers, in whatever case."""
        email = str(self.cleaned_data["email"]).lower()
        if email != self._person.email:
            raise ValidationError("This is not the address of your account.")
        return email


class ZoneSelect(forms.Select):
    """A list of four hundred zones: a template rendered for each of them would take a tenth of a second."""

    @override
    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """The whole element."""
        zones = ((zone, " selected" if zone == value else "", zone.replace("_", " ")) for zone in time_zones())
        options = format_html_join("", '<option value="{}"{}>{}</option>', zones)
        given = format_html_join("", ' {}="{}"', {**self.attrs, **(attrs or {}), "name": name}.items())
        return format_html("<select{}>{}</select>", given, options)


class TimeZoneForm(forms.Form):
    """In which zone times are shown."""

    time_zone = forms.CharField(label="Time zone", widget=ZoneSelect)


class LettersForm(forms.Form):
    """How often the advisor writes to a member about an organization; one form for each, so ids have its number."""

    often = forms.ChoiceField(
        label="A letter on Mondays, when there is something worth saying",
        choices=[("weekly", "Each week"), ("monthly", "Only the first of a month"), ("off", "Never")],
    )
    wants_alerts = forms.BooleanField(
        label="Tell me at once when a model in use fails, slows down or will be shut down", required=False
    )

    @classmethod
    def of(cls, wishes: Wishes) -> Self:
        """As it is now."""
        initial = {"often": wishes.often, "wants_alerts": wishes.wants_alerts}
        return cls(initial=initial, auto_id=f"id_{wishes.organization_id}_%s")


class OrganizationForm(forms.Form):
    """The name of an organization."""

    name = forms.CharField(max_length=200, label="Name")

    def clean_name(self) -> str:
        """Nothing unseen, and no address of a site: the name stands in mails to people who never asked for one."""
        name = str(self.cleaned_data["name"])
        if hidden_characters(name):
            raise ValidationError("The name has characters that nobody sees; write it without them.")
        if "://" in name or "www." in name.lower():
            raise ValidationError("A name cannot hold the address of a site.")
        return name


class RoleForm(forms.Form):
    """A member's role."""

    role = forms.ChoiceField(choices=Role.choices, label="Role")


class InvitationForm(forms.Form):
    """Whom to invite, as what."""

    email = forms.EmailField(
        label="E-mail address",
        max_length=ADDRESS_CHARACTERS,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    role = forms.ChoiceField(choices=Role.choices, initial=Role.DEVELOPER, label="Role")

    def clean_email(self) -> str:
        """In lower case; no mail server takes an address whose name is longer than the standard allows."""
        email = plain_address(str(self.cleaned_data["email"]).lower())
        if len(email.rpartition("@")[0]) > MAILBOX_CHARACTERS:
            raise ValidationError(f"There is no address with more than {MAILBOX_CHARACTERS} characters before the @.")
        return email
