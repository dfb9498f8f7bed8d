"""What the database holds that the secrets of this installation do not open (any more)."""

from datetime import UTC, datetime

from cryptography.fernet import InvalidToken
from django.conf import settings

from accounts.queries import count_keys_before
from komilion.env import Instance
from routing.actions.catalog import do_put_provider
from routing.catalog.credentials import decrypt
from routing.catalog.models import Offer, Provider
from routing.management.commands.catalog_seed import LOCAL


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


def _is_readable(provider: Provider) -> bool:
    if provider.api_key_env:  # read from the environment; what is stored is not looked at
        return True
    try:
        decrypt(bytes(provider.api_key_encrypted))
    except InvalidToken:
        return False
    return True
