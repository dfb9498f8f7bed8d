"""Keeps tests on this machine: connecting to, or looking up, anything but loopback is an error."""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

LOCAL_NAMES = {"localhost", "ip6-localhost", ""}


class NetworkBlocked(RuntimeError):
    """A test tried to leave the machine. Use the scripted upstream instead."""


def _is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host is None or str(host).lower() in LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse(what: str) -> None:
    raise NetworkBlocked(f"tests may use loopback only; blocked: {what}")


def _guarded(original: Callable[..., Any]) -> Callable[..., Any]:
    def connect(self: socket.socket, address: Any) -> Any:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_local(address[0]):
            _refuse(f"a connection to {address[0]}")
        return original(self, address)

    return connect


def block_network() -> None:
    """From here on only loopback can be reached through Python's own sockets, in this process; call it once."""
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if not _is_local(host):
            _refuse(f"looking up {host!r}")
        return look_up(host, *arguments, **options)

    socket.getaddrinfo = getaddrinfo
    socket.socket.connect = _guarded(socket.socket.connect)
    socket.socket.connect_ex = _guarded(socket.socket.connect_ex)
