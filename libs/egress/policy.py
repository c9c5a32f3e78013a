"""Which addresses may be reached. Names are resolved once, every answer is judged, and only a judged one is used."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Self

import aiohttp
import psutil
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct

from libs.egress.addresses import Address, Network, literal_address, reachable, unwrap

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
Reason = Literal["private_address", "own_address", "bad_port", "bad_host"]

PORTS = frozenset({80, 443, 8080, 8443})
RESOLVE_SECONDS = 10.0

_MAPPED = re.compile(r"(?P<host>[^\s:/@\[\]]+)(:(?P<port>[0-9]{1,5}))?")


class EgressRefused(Exception):
    """This address may not be reached from here. `reason` is stable, the message is for people."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Allowance(str):
    """Networks and mappings, as an operator writes them."""

    __slots__ = ()

    @classmethod
    def read_setting(cls, value: object) -> Self:
        """Raises BadAllowance."""
        EgressPolicy.parse(str(value))
        return cls(value)


class BadAllowance(ValueError):
    """What is allowed can not be read; each part is a network, an address, or host=address:port."""


class Endpoint(Struct, frozen=True):
    address: str
    port: int


class EgressPolicy:
    """`networks` are open on every port; `mappings` send a host (or host:port) to an address of the operator's choice,
    which is how tests run real extractors against a local site. A mapping opens its address for that host alone."""

    def __init__(
        self,
        networks: Sequence[Network] = (),
        mappings: Mapping[str, Endpoint] | None = None,
        lookup: Lookup | None = None,
        own: Callable[[], Collection[str]] | None = None,
    ) -> None:
        self._networks = tuple(networks)
        self._mappings = dict(mappings or {})
        self._targets = frozenset(self._mappings.values())
        self._lookup = lookup or _lookup
        self._own = own or _own_addresses

    @classmethod
    def parse(cls, text: str, lookup: Lookup | None = None) -> EgressPolicy:
        """Raises BadAllowance with every part that is wrong."""
        networks: list[Network] = []
        mappings: dict[str, Endpoint] = {}
        wrong: list[str] = []
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            host, equals, target = (piece.strip() for piece in part.partition("="))
            try:
                if not equals:
                    networks.append(ipaddress.ip_network(part))
                    continue
                mappings[_mapping_key(host, mappings)] = _endpoint(target)
            except ValueError as error:
                wrong.append(f"{part!r}: {error}")
        if wrong:
            raise BadAllowance(
                "; ".join(wrong) + " (each part is a network such as 10.0.0.0/8, "
                "an address, host=address:port or host:port=address:port)"
            )
        return cls(networks, mappings, lookup)

    @property
    def inward(self) -> bool:
        """Whether any network was opened, so that names may rightly lead inside."""
        return bool(self._networks)

    def open(self, address: Address) -> bool:
        """Opened by the operator, whatever it is."""
        return any(address in network for network in self._networks if network.version == address.version)

    def mapped(self, host: str, port: int) -> Endpoint | None:
        host = host.lower().rstrip(".")
        return self._mappings.get(f"{host}:{port}") or self._mappings.get(host)

    def maps_to(self, endpoint: Endpoint) -> bool:
        return endpoint in self._targets

    def judge(self, address: str, port: int) -> None:
        """Raises EgressRefused. For an address that is about to be connected to, and no mapping led to."""
        found = unwrap(ipaddress.ip_address(address.partition("%")[0]))
        if self.open(found):
            return
        if not reachable(found):
            raise EgressRefused("private_address", "this address is not on the public internet")
        if str(found) in self._own():
            raise EgressRefused("own_address", "this address is the server's own")
        if port not in PORTS:
            raise EgressRefused("bad_port", f"port {port} is not open")

    async def resolve(self, host: str, port: int) -> list[Endpoint]:
        """Every address of the host, all of them judged: one bad answer refuses the name. Raises EgressRefused, OSError
        (TimeoutError is one)."""
        if (mapped := self.mapped(host, port)) is not None:
            return [mapped]
        literal = literal_address(host)
        if literal is not None:
            self.judge(str(literal), port)
            return [Endpoint(str(literal), port)]
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await self._lookup(host, port)
        except UnicodeError as error:
            raise EgressRefused("bad_host", "the host is not a name") from error
        if not found:
            raise OSError(f"{host} has no address")
        for address in found:
            self.judge(address, port)
        return [Endpoint(address, port) for address in dict.fromkeys(found)]

    def connector(self, **options: Any) -> aiohttp.TCPConnector:
        """For our own clients; it connects where the policy lets it, and follows the mappings."""
        return _Connector(self, **options)


class _RefusedSocket(OSError):
    """aiohttp lets only OSError through its connection attempts; `refusal` finds it again."""


class _Connector(aiohttp.TCPConnector):
    """Judges three times, because each place sees what the others do not: the resolver every answer for a name,
    `connect` the literals that never reach a resolver, and the socket what is really connected to."""

    def __init__(self, policy: EgressPolicy, **options: Any) -> None:
        super().__init__(resolver=_Resolver(policy), socket_factory=self._socket, **options)
        self._policy = policy

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        host, port = req.url.raw_host or "", req.url.port or 0
        if literal_address(host) is not None and self._policy.mapped(host, port) is None:
            _judge(self._policy, host, port)
        return await super().connect(req, traces, timeout)

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, proto, _, target = info
        if not self._policy.maps_to(Endpoint(target[0], target[1])):
            _judge(self._policy, target[0], target[1])
        return socket.socket(family, kind, proto)


class _Resolver(AbstractResolver):
    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family
        try:
            endpoints = await self._policy.resolve(host, port)
        except EgressRefused as refused:
            raise _RefusedSocket(str(refused)) from refused
        return [
            ResolveResult(
                hostname=host,
                host=one.address,
                port=one.port,
                family=socket.AF_INET6 if ":" in one.address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for one in endpoints
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _judge(policy: EgressPolicy, address: str, port: int) -> None:
    try:
        policy.judge(str(literal_address(address)), port)
    except EgressRefused as refused:
        raise _RefusedSocket(str(refused)) from refused


def refusal(error: BaseException | None) -> str | None:
    """Why the policy refused, if that is what is behind a client's error."""
    while error is not None:
        if isinstance(error, (_RefusedSocket, EgressRefused)):
            return str(error)
        error = error.__cause__ or error.__context__
    return None


def _mapping_key(text: str, taken: Collection[str]) -> str:
    found = _MAPPED.fullmatch(text)
    if found is None or (found["port"] is not None and not 0 < int(found["port"]) < 65536):
        raise ValueError("the part before = is host or host:port")
    key = text.lower()
    if key in taken:
        raise ValueError("this host is mapped twice")
    return key


def _endpoint(text: str) -> Endpoint:
    address, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal()) or not 0 < int(port[:6]) < 65536:
        raise ValueError("the part after = is address:port")
    return Endpoint(str(ipaddress.ip_address(address.strip("[]"))), int(port))


def _own_addresses() -> Collection[str]:
    """Of every interface, asked anew each time: a laptop changes them."""
    families = (socket.AF_INET, socket.AF_INET6)
    interfaces: dict[str, list[Any]] = psutil.net_if_addrs()
    return {one.address.partition("%")[0] for all_of in interfaces.values() for one in all_of if one.family in families}


async def _lookup(host: str, port: int) -> Sequence[str]:
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in infos]
