"""What an address is: on the public internet or not, and in which disguise."""

from __future__ import annotations

import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# `ipaddress.is_global` calls some of these reachable although each can lead back inside: NAT64, 6to4 and Teredo wrap
# an IPv4 address, 192.0.0.0/24 is the protocols' own. The rest is named because Pythons differ in it.
_DENIED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "240.0.0.0/4",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    )
)


def unwrap(address: Address) -> Address:
    """The IPv4 address inside a mapped one."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def reachable(address: Address) -> bool:
    """On the public internet, without a way back inside."""
    address = unwrap(address)
    if not address.is_global or address.is_multicast or address.is_unspecified or address.is_reserved:
        return False
    return not any(address in network for network in _DENIED if network.version == address.version)


def literal_address(host: str) -> Address | None:
    """The address that `host` is, in any spelling a C library takes: `0x7f.1`, `2130706433` and `017700000001` are all
    127.0.0.1. None for a name."""
    bare = host.strip("[]").partition("%")[0]
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(bare))
    except (OSError, ValueError):
        return None
