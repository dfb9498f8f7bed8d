"""What the database holds that the secrets of this installation do not open (any more), and sealing it anew."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from allauth.mfa.models import Authenticator
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.db import transaction

from accounts.queries import count_keys_before
from billing.models import IdempotentCall
from komilion.env import Instance
from routing.actions.catalog import do_put_provider
from routing.actions.local import LOCAL
from routing.catalog.credentials import decrypt, reseal
from routing.catalog.models import Offer, Provider
from routing.playground.models import PlaygroundShare
from voice.models import JobPart, TranscriptionJob, WebhookDelivery, WebhookSecret


def unusable_api_keys(instance: Instance) -> int:
    """How many API keys were hashed with a pepper that is lost: those made before `instance.json` made its own.

    0 where the environment names the pepper, since nobody can tell then.
    """
    if instance.key_pepper.encode() != settings.KEY_PEPPER or not instance.made_at_unix_s:
        return 0
    return count_keys_before(datetime.fromtimestamp(instance.made_at_unix_s, UTC))


def unreadable_providers() -> list[str]:
    """Providers with models whose stored credential no key of `CREDENTIAL_KEYS` opens, by name."""
    called = Provider.objects.filter(pk__in=Offer.objects.values("provider")).order_by("name")
    return [provider.name for provider in called if not _is_readable(provider)]


def do_repair_local_provider() -> None:
    """The credential of the local models is no secret: store it anew where it cannot be read."""
    if LOCAL.name in unreadable_providers():
        do_put_provider(LOCAL)


def unreadable_second_factors() -> int:
    """How many people have a second factor that no key of `CREDENTIAL_KEYS` opens: they cannot log in."""
    rows = Authenticator.objects.values_list("user_id", "data").iterator()
    return len({user_id for user_id, data in rows if not all(_opens(secret) for secret in _secrets_of(data))})


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many secrets were written anew, and how many could not be because no key opens them."""

    written: int
    unreadable: int


def do_reseal() -> Resealed:
    """Seal everything stored with the newest key of `CREDENTIAL_KEYS`: the others may be dropped afterwards.

    Each row is locked and written for itself, so it may run beside the server and be repeated.
    """
    rows: list[tuple[type[Any], Callable[[Any], None]]] = [
        (Provider, _reseal_provider),
        (Authenticator, _reseal_second_factor),
        (IdempotentCall, _reseal_answer),
        (PlaygroundShare, _reseal_share),
        (TranscriptionJob, _reseal_fields("url_sealed", "webhook_url_sealed", "result_sealed")),
        (JobPart, _reseal_fields("answer_sealed")),
        (WebhookSecret, _reseal_fields("secret_sealed", "previous_sealed")),
        (WebhookDelivery, _reseal_fields("url_sealed")),
    ]
    results = [
        _reseal_row(model, pk, how) for model, how in rows for pk in list(model.objects.values_list("pk", flat=True))
    ]
    return Resealed(written=sum(results), unreadable=len(results) - sum(results))


def _reseal_row(model: type[Any], pk: Any, how: Callable[[Any], None]) -> bool:
    """Whether it could be read; a row that went meanwhile is no trouble."""
    with transaction.atomic():
        row = model.objects.select_for_update().filter(pk=pk).first()
        if row is None:
            return True
        try:
            how(row)
        except InvalidToken:
            return False
        row.save()
    return True


def _reseal_provider(provider: Provider) -> None:
    if provider.api_key_encrypted:
        provider.api_key_encrypted = reseal(bytes(provider.api_key_encrypted))


def _reseal_second_factor(authenticator: Authenticator) -> None:
    authenticator.data = _resealed_in(authenticator.data)


def _reseal_answer(call: IdempotentCall) -> None:
    if call.answer:
        call.answer = reseal(call.answer.encode()).decode()


def _reseal_share(share: PlaygroundShare) -> None:
    share.title_sealed = reseal(bytes(share.title_sealed))
    share.content_sealed = reseal(bytes(share.content_sealed))


def _reseal_fields(*names: str) -> Callable[[Any], None]:
    """For rows whose fields of these names are sealed, or empty."""

    def reseal_them(row: Any) -> None:
        for name in names:
            if sealed := bytes(getattr(row, name)):
                setattr(row, name, reseal(sealed))

    return reseal_them


# What allauth encrypts in an authenticator's data: of an app its secret, of recovery codes their seed or the codes.
SECRET_NAMES = ("secret", "seed", "migrated_codes")


def _secrets_of(data: dict[str, Any]) -> Iterator[str]:
    for name in SECRET_NAMES:
        value = data.get(name, [])
        yield from value if isinstance(value, list) else [value]


def _resealed_in(data: dict[str, Any]) -> dict[str, Any]:
    def anew(value: Any) -> Any:
        return [anew(each) for each in value] if isinstance(value, list) else reseal(value.encode()).decode()

    return data | {name: anew(data[name]) for name in SECRET_NAMES if name in data}


def _opens(secret: str) -> bool:
    try:
        decrypt(secret.encode())
    except InvalidToken:
        return False
    return True


def _is_readable(provider: Provider) -> bool:
    if provider.api_key_env:  # read from the environment; what is stored is not looked at
        return True
    try:
        decrypt(bytes(provider.api_key_encrypted))
    except InvalidToken:
        return False
    return True
