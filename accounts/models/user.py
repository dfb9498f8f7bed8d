"""A person. The e-mail address is the name to log in with; there is no other."""

from collections.abc import Iterator
from typing import Any, ClassVar, override

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models
from django.utils.crypto import salted_hmac


class UserManager(BaseUserManager["User"]):
    """Makes users by e-mail address."""

    use_in_migrations = True

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """A new user; without a password the account cannot log in until one is set."""
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """An operator with every right. Whoever reaches the server's shell need not prove her address by a mail."""
        user = self.create_user(email, password, is_staff=True, is_superuser=True, **fields)
        EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
        return user


class User(AbstractUser):
    """A person who can belong to several organizations."""

    username = None  # type: ignore[assignment]
    email = models.EmailField("e-mail address", unique=True)
    time_zone = models.CharField(max_length=64, default="UTC")  # of the IANA database; pages show times in it
    session_epoch = models.PositiveIntegerField(default=0)  # one more ends every session

    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = "user"

    @override
    def __str__(self) -> str:
        return self.email

    @override
    def get_session_auth_hash(self) -> str:
        """What a session must carry to stay valid: changes with the password and with `session_epoch`."""
        return self._with_epoch(super().get_session_auth_hash(), None)

    @override
    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        """The same under the older keys that may still have signed a session."""
        hashes = super().get_session_auth_fallback_hash()
        for older, secret in zip(hashes, settings.SECRET_KEY_FALLBACKS, strict=True):
            yield self._with_epoch(older, secret)

    def _with_epoch(self, password_hash: str, secret: str | bytes | None) -> str:
        value = f"{password_hash}:{self.session_epoch}"
        return salted_hmac("komilion.session", value, secret=secret, algorithm="sha256").hexdigest()
