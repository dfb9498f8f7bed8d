"""Which addresses on the Internet are everybody's, so that a stranger may have us connect to them.

What an address embeds is looked at too: behind a translator `64:ff9b::7f00:1` is 127.0.0.1. Tables: the registries of
special-purpose addresses at IANA (RFC 6890), as far as `ipaddress` has them, and what is named here.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

GLOBAL_UNICAST = IPv6Network("2000::/3")  # the only part of IPv6 that is given out
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052; the last 32 bits are the IPv4 address
TUNNELS = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))  # 6to4 and Teredo: they lead wherever they say
MORE_SPECIAL = (
    IPv4Network("168.63.129.16/32"),  # a cloud's own service, reachable from each of its machines alone
    IPv4Network("192.88.99.0/24"),  # relays of 6to4 (RFC 7526)
    IPv6Network("3fff::/20"),  # documentation (RFC 9637)
)


def is_public(address: str) -> bool:
    """Whether an IP address, as text and without a zone, is one that anybody may be sent to."""
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        inner = _embedded(found)
        if inner is None:
            is_unicast = found in GLOBAL_UNICAST and not any(found in tunnel for tunnel in TUNNELS)
            return is_unicast and _is_ordinary(found)
        found = inner
    return _is_ordinary(found)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that this one is another spelling of."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else None


def _is_ordinary(address: IPv4Address | IPv6Address) -> bool:
    is_special = address.is_multicast or address.is_reserved or any(address in network for network in MORE_SPECIAL)
    return address.is_global and not is_special
