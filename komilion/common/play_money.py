"""When test money may be accepted. Asked before Django is set up, so plain values go in."""

import ipaddress

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


def trouble_of_test_money(host: str, stripe_key: str) -> str:
    """Why `TEST_PAYMENTS=1` would let people spend what nobody paid; empty where it would not."""
    if not is_loopback(host):
        return f"TEST_PAYMENTS=1 gives credit away, and HOST {host} can be reached from other machines"
    if is_live_key(stripe_key):
        return "TEST_PAYMENTS=1 gives credit away, and STRIPE_SECRET_KEY is a live key"
    return ""
