"""Whose request it is, as far as the network tells."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest

UNKNOWN = "0.0.0.0"  # noqa: S104 # nobody listens there: it stands for all whose address cannot be told
IPV6_NETWORK_BITS = 64  # what one customer of a provider has


def client_ip(request: HttpRequest) -> str:
    """The peer; behind a proxy of ours the address that it saw, which is the last one in `X-Forwarded-For`.

    What stands before the last one was sent by the client and may be anything.
    """
    peer = request.META.get("REMOTE_ADDR", "")
    if settings.BEHIND_PROXY:
        hops = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
        peer = _address(hops[-1]) or peer
    return _address(peer) or UNKNOWN


def client_network(request: HttpRequest) -> str:
    """The same as what limits count by: an IPv4 address, or the network that an IPv6 address is in."""
    address = ipaddress.ip_address(client_ip(request))
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))


def _address(text: str) -> str:
    """`text` as an address, without a port and brackets; empty where it is none."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
