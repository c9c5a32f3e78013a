"""Which addresses may be reached. Names are resolved once, every answer is judged, and only a judged one is used."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Lookup = Callable[[str, int], Awaitable[Sequence[str]]]

PORTS = frozenset({80, 443, 8080, 8443})
RESOLVE_SECONDS = 10.0

# `ipaddress.is_global` calls these reachable although each can lead back inside: NAT64, 6to4 and Teredo wrap an IPv4
# address, 192.0.0.0/24 is the protocols' own, and multicast is nobody's server.
_DENIED: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in (
    "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "192.0.0.0/24", "192.88.99.0/24", "100.64.0.0/10",
    "198.18.0.0/15", "240.0.0.0/4", "fec0::/10", "5f00::/16", "3fff::/20",
))


class EgressRefused(Exception):
    """This address may not be reached from here."""


class BadAllowance(ValueError):
    """LONGSHORE_EGRESS_ALLOW can not be read; each part is a network, an address, or host=address:port."""


class Endpoint(Struct, frozen=True):
    address: str
    port: int


class EgressPolicy:
    """`networks` are open on every port; `mappings` send a host (or host:port) to an address of the operator's choice,
    which is how tests run real extractors against a local site."""

    def __init__(self, networks: Sequence[Network] = (), mappings: dict[str, Endpoint] | None = None,
                 lookup: Lookup | None = None) -> None:
        self._networks = tuple(networks)
        self._mappings = mappings or {}
        self._lookup = lookup or _lookup

    @classmethod
    def parse(cls, text: str) -> EgressPolicy:
        """Raises BadAllowance with every part that is wrong."""
        networks: list[Network] = []
        mappings: dict[str, Endpoint] = {}
        wrong: list[str] = []
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            host, equals, target = part.partition("=")
            try:
                if equals:
                    mappings[host.lower()] = _endpoint(target)
                else:
                    networks.append(ipaddress.ip_network(part, strict=False))
            except ValueError as error:
                wrong.append(f"{part!r}: {error}")
        if wrong:
            raise BadAllowance("LONGSHORE_EGRESS_ALLOW: " + "; ".join(wrong))
        return cls(networks, mappings)

    def open(self, address: Address) -> bool:
        """Opened by the operator, whatever it is."""
        return any(address in network for network in self._networks if network.version == address.version)

    def mapped(self, host: str, port: int) -> Endpoint | None:
        host = host.lower().rstrip(".")
        return self._mappings.get(f"{host}:{port}") or self._mappings.get(host)

    def judge(self, address: str, port: int) -> None:
        """Raises EgressRefused. For an address that is about to be connected to."""
        found = unwrap(ipaddress.ip_address(address.partition("%")[0]))
        if self.open(found):
            return
        if Endpoint(str(found), port) in self._mappings.values():
            return
        if not reachable(found):
            raise EgressRefused("this address is not on the public internet")
        if port not in PORTS:
            raise EgressRefused(f"port {port} is not open")

    async def resolve(self, host: str, port: int) -> list[Endpoint]:
        """Every address of the host, all of them judged: one bad answer refuses the name. Raises EgressRefused, OSError.
        """
        if (mapped := self.mapped(host, port)) is not None:
            return [mapped]
        literal = literal_address(host)
        if literal is not None:
            self.judge(str(literal), port)
            return [Endpoint(str(literal), port)]
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await self._lookup(host, port)
        if not found:
            raise OSError(f"{host} has no address")
        for address in found:
            self.judge(address, port)
        return [Endpoint(address, port) for address in dict.fromkeys(found)]

    def connector(self, **options: Any) -> aiohttp.TCPConnector:
        """For our own clients. The resolver answers for names; literals never reach it, so the socket is judged too."""
        return aiohttp.TCPConnector(resolver=_Resolver(self), socket_factory=self._socket, **options)

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, proto, _, target = info
        try:
            self.judge(target[0], target[1])
        except EgressRefused as refused:
            raise _RefusedSocket(str(refused)) from refused
        return socket.socket(family, kind, proto)


class _RefusedSocket(OSError):
    """aiohttp lets only OSError through its connection attempts; `refusal` finds it again."""


def refusal(error: BaseException | None) -> str | None:
    """Why the policy refused, if that is what is behind a client's error."""
    while error is not None:
        if isinstance(error, (_RefusedSocket, EgressRefused)):
            return str(error)
        error = error.__cause__ or error.__context__
    return None


class _Resolver(AbstractResolver):
    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy

    async def resolve(self, host: str, port: int = 0,
                      family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        del family
        try:
            endpoints = await self._policy.resolve(host, port)
        except EgressRefused as refused:
            raise _RefusedSocket(str(refused)) from refused
        return [ResolveResult(hostname=host, host=one.address, port=one.port,
                              family=socket.AF_INET6 if ":" in one.address else socket.AF_INET, proto=0,
                              flags=socket.AI_NUMERICHOST) for one in endpoints]

    async def close(self) -> None:
        """Nothing is held."""


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
    except (OSError, UnicodeEncodeError):
        return None


def _endpoint(text: str) -> Endpoint:
    address, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("expected host=address:port")
    return Endpoint(str(ipaddress.ip_address(address.strip("[]"))), int(port))


async def _lookup(host: str, port: int) -> Sequence[str]:
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in infos]
