"""When test money may be accepted. Asked before Django is set up too, so the settings go in."""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

LIVE_PREFIXES = ("sk_live_", "rk_live_")


def is_live_key(key: str) -> bool:
    """Whether a key of Stripe's moves real money."""
    return key.startswith(LIVE_PREFIXES)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def trouble_of_test_money(setup: Any) -> str:
    """Why `TEST_PAYMENTS=1` would let people spend what nobody paid; empty where it would not.

    `setup` has the settings: Django's, or the module itself.
    """
    public_host = urlsplit(setup.PUBLIC_URL).hostname or ""
    if not is_loopback(setup.HOST):
        reason = f"HOST {setup.HOST} can be reached from other machines"
    elif setup.BEHIND_PROXY:
        reason = "BEHIND_PROXY=1 says that others come in through a proxy"
    elif not is_loopback(public_host):
        reason = f"PUBLIC_URL says that others come in by {public_host}"
    elif is_live_key(setup.STRIPE_SECRET_KEY):
        reason = "STRIPE_SECRET_KEY is a live key"
    else:
        return ""
    return f"TEST_PAYMENTS=1 gives credit away, and {reason}"
