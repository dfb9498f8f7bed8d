"""What django-allauth asks of us: how mails look, whose address a request has, what becomes of who logs in."""

import logging
from collections.abc import Callable
from typing import Any, override

import qrcode  # type: ignore[import-untyped]
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core import ratelimit
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from qrcode.image.svg import SvgPathFillImage  # type: ignore[import-untyped]

from accounts.actions.signup import do_drop_unverified
from accounts.actions.trial import TRIAL_LIMITS, Trial
from accounts.models import User
from accounts.queries import is_taken
from komilion.common.errors import Unavailable
from komilion.common.money import format_usd
from komilion.web.people import limits
from komilion.web.people.client_ip import client_ip
from komilion.web.people.forms import plain_address
from komilion.web.people.mails import deliver, link_to
from komilion.web.people.notices import (
    CHANGES,
    CONFIRMATIONS,
    EMAIL_CHANGE,
    EMAIL_CHANGE_TAKEN,
    EMAIL_CHANGED,
    MAILS,
    SECURITY_NOTICES,
)
from komilion.web.people.undo_email import undo_link
from komilion.web.tenants import do_ensure_tenant
from routing.catalog.credentials import decrypt, encrypt

log = logging.getLogger(__name__)

UNREADABLE_FACTOR = (
    "Your second factor cannot be checked: we have lost the key that it was stored with. Write to us; we can take the "
    "second factor away, so that you can log in with your password and set it up anew."
)
TRIAL_TEXTS = {
    Trial.USED: "You had trial credit before, so the wallet starts empty.",
    Trial.DISPOSABLE: "Addresses of this kind get no trial credit, so the wallet starts empty.",
    Trial.TOO_MANY: "Too many trials began where you are. Log in again tomorrow for your trial credit.",
    Trial.BUDGET: "Today's trial credit is used up. Log in again tomorrow for yours.",
}


class AccountAdapter(DefaultAccountAdapter):
    """Accounts."""

    @override
    def get_client_ip(self, request: HttpRequest) -> str:
        """The address that limits count by."""
        return client_ip(request)

    @override
    def clean_email(self, email: str) -> str:
        """The address; allauth asks wherever somebody types one of her own, or a provider tells it."""
        return plain_address(super().clean_email(email))

    # Logging in.

    @override
    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Allauth's own limit goes by the Host header, which the client chooses; ours is in `authenticate`."""

    @override
    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        """The person with these credentials, or None. Raises `ValidationError` for who must wait."""
        lock = limits.LoginLock.of(request, credentials.get("email", ""))
        wait_s = lock.attempt()
        if wait_s:
            raise ValidationError(f"Too many failed attempts. Try again in {_spoken(wait_s)}.")
        user = super().authenticate(request, **credentials)
        if user is not None:
            lock.succeeded()
        return user

    @override
    def set_password(self, user: Any, password: str) -> None:
        """After a reset or a change nobody has to wait out what was guessed before."""
        super().set_password(user, password)
        limits.forget_failures(user.email, self.request)

    @override
    def post_login(self, request: HttpRequest, user: Any, **hooks: Any) -> HttpResponse:
        """Where she goes next; what she should have and has not is made before."""
        self._ensure_tenant(request, user)
        return super().post_login(request, user, **hooks)  # type: ignore[no-any-return]

    @override
    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        """Take the address as hers. False, with a message, where it is another's by now."""
        user = email_address.user
        do_drop_unverified(email_address.email, keep_user_id=user.pk)
        if user.email != email_address.email and is_taken(email_address.email):
            messages.error(request, f"{email_address.email} belongs to another account.")
            return False
        if not super().confirm_email(request, email_address):
            return False
        self._ensure_tenant(request, email_address.user)
        return True

    def _ensure_tenant(self, request: HttpRequest, user: User) -> None:
        ensured = do_ensure_tenant(user, limits.TrialsHere.of(request))
        tell_about_trial(request, ensured.trial, is_new=ensured.is_new)

    # Mails.

    @override
    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        """The link of the mail that verifies an address."""
        return link_to("account_confirm_email", emailconfirmation.key)

    @override
    def get_reset_password_from_key_url(self, key: str) -> str:
        """The link of the mail that sets a password anew; `key` is allauth's, both parts in one."""
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"})
        return f"{settings.PUBLIC_URL}{path.replace('UID-KEY', key)}"

    @override
    def send_confirmation_mail(self, request: HttpRequest, emailconfirmation: Any, signup: bool) -> None:
        """The link that verifies an address; where an account changes to it, in words of its own.

        Who has an account with that address gets no link, because it could not take the address from her.
        """
        address = emailconfirmation.email_address
        if address.email == address.user.email:
            super().send_confirmation_mail(request, emailconfirmation, signup)
        elif is_taken(address.email):
            self.send_mail(EMAIL_CHANGE_TAKEN, address.email, {})
        else:
            link = self.get_email_confirmation_url(request, emailconfirmation)
            self.send_mail(EMAIL_CHANGE, address.email, {"activate_url": link})

    @override
    def send_notification_mail(
        self, template_prefix: str, user: Any, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        """Tell of a change; where the address itself was changed, with a way back for who reads the old one."""
        seen = dict(context or {})
        if template_prefix == EMAIL_CHANGED:
            seen["undo_url"] = undo_link(user.pk, seen["from_email"])
        super().send_notification_mail(template_prefix, user, context=seen, email=email)

    @override
    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send what allauth calls `template_prefix` as one of ours; who waits for it hears when it cannot be sent."""
        seen = {
            "signup_url": link_to("account_signup"),
            "reset_url": link_to("account_reset_password"),
            "link": context.get("activate_url") or context.get("password_reset_url"),
            "undo_url": context.get("undo_url"),
            "ip": context.get("ip"),
            "timestamp": context.get("timestamp"),
        }
        if template_prefix in SECURITY_NOTICES:
            seen["what"] = SECURITY_NOTICES[template_prefix].format(**context)
            deliver("security_notice", email, seen, subject="Your account was changed", on_done=lambda _sent: None)
            return
        template, subject = MAILS[template_prefix]
        deliver(template, email, seen, subject=subject, on_done=self._reporter(template_prefix, email))

    def _reporter(self, template_prefix: str, email: str) -> Callable[[bool], None]:
        request: HttpRequest = self.request

        def report(sent: bool) -> None:
            if sent and template_prefix in CONFIRMATIONS | CHANGES:
                messages.info(request, f"We sent an e-mail to {email}.")
            elif not sent:
                messages.error(request, f"The e-mail to {email} could not be sent. Nothing is lost: send it again.")
                if template_prefix in CONFIRMATIONS | CHANGES:
                    for action in ("confirm_email", "signup_mail"):
                        ratelimit.clear(request, action=action, key=email.lower())

        return report


class MfaAdapter(DefaultMFAAdapter):
    """Second factors; their secrets are encrypted at rest."""

    @override
    def encrypt(self, text: str) -> str:
        """For the database."""
        return encrypt(text).decode()

    @override
    def build_totp_svg(self, url: str) -> str:
        """On white: without a ground of its own nobody could scan it from a dark page."""
        return str(qrcode.make(url, image_factory=SvgPathFillImage).to_string(encoding="unicode"))

    @override
    def decrypt(self, encrypted_text: str) -> str:
        """From the database. Raises `Unavailable` where the key that it was stored with is lost."""
        try:
            return decrypt(encrypted_text.encode())
        except InvalidToken as error:
            log.error("a second factor cannot be decrypted any more", extra={"alarm": "second_factor_unreadable"})
            raise Unavailable(UNREADABLE_FACTOR) from error


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    """Logging in with an account elsewhere."""

    @override
    def is_auto_signup_allowed(self, request: HttpRequest, sociallogin: Any) -> bool:
        """An address that the provider vouches for is not taken by a sign-up that nobody verified."""
        for address in sociallogin.email_addresses:
            if address.verified:
                do_drop_unverified(address.email.lower())
        return bool(super().is_auto_signup_allowed(request, sociallogin))


def tell_about_trial(request: HttpRequest, trial: Trial | None, *, is_new: bool) -> None:
    """Say what became of the trial credit: when it is claimed, and to who just came also why it is not."""
    if trial is Trial.CLAIMED:
        amount = format_usd(settings.TRIAL_CREDIT_NANO)
        messages.success(
            request,
            f"${amount} of trial credit is in your wallet, for {settings.TRIAL_DAYS} days. While it is all you have, "
            f"{TRIAL_LIMITS['parallel']} calls may run at once.",
        )
    elif is_new and trial in TRIAL_TEXTS:
        messages.info(request, TRIAL_TEXTS[trial])


def _spoken(seconds: int) -> str:
    return f"{seconds} seconds" if seconds < 120 else f"{-(-seconds // 60)} minutes"
