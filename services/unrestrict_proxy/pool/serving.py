"""Which accounts serve which files, and what platforms look like from outside for it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from proto.unrestrict_proxy import HostInfo, LinkClass
from services.unrestrict_proxy.adapters.contract import Adapter, Caps, HostFile
from services.unrestrict_proxy.pool.breaker import Breaker, Way
from services.unrestrict_proxy.pool.choice import Origin, origin
from services.unrestrict_proxy.pool.views import Account


class Target(Struct, frozen=True, kw_only=True):
    """Whose files are asked for. A host that no adapter of its own speaks for is a platform by its domain."""

    platform: str
    name: str
    domains: tuple[str, ...]


class Serving(Struct, frozen=True, kw_only=True):
    """An account that serves a target."""

    account: Account
    adapter: Adapter
    origin: Origin

    @property
    def caps(self) -> Caps:
        return allowed(self.account, self.adapter)


def allowed(account: Account, adapter: Adapter) -> Caps:
    """What the operator allows goes before what the platform does."""
    caps = adapter.caps
    return msgspec.structs.replace(
        caps, slots=account.slots or caps.slots, max_chunks=account.max_chunks or caps.max_chunks
    )


class Platforms:
    def __init__(self, adapters: Sequence[Adapter]) -> None:
        self._adapters = {one.platform: one for one in adapters}
        self._owners = {domain: one for one in adapters for domain in one.domains}

    def adapter(self, platform: str) -> Adapter | None:
        return self._adapters.get(platform)

    def names(self) -> list[str]:
        return sorted(self._adapters)

    def known(self, accounts: Iterable[Account]) -> list[tuple[Account, Adapter]]:
        """Those of platforms that there still are."""
        found = ((one, self._adapters.get(one.platform)) for one in accounts)
        return [(one, adapter) for one, adapter in found if adapter is not None]

    def target(self, platform: str) -> Target:
        """Of a file's platform, or of a domain."""
        adapter = self._adapters.get(platform) or self._owners.get(platform)
        if adapter is None or not adapter.domains:
            return Target(platform=platform, name=platform, domains=(platform,))
        return Target(platform=adapter.platform, name=adapter.name, domains=adapter.domains)

    def serving(self, target: Target, accounts: Iterable[Account]) -> list[Serving]:
        found = []
        for one, adapter in self.known(accounts):
            why = self._origin(adapter, one, target)
            if why is not None:
                found.append(Serving(account=one, adapter=adapter, origin=why))
        return found

    def _origin(self, adapter: Adapter, account: Account, target: Target) -> Origin | None:
        return origin(
            native=adapter.platform == target.platform,
            multihost=adapter.caps.multihost,
            allowed=account.domains,
            live=account.standing.hosts,
            domains=target.domains,
        )

    def match(self, url: str, accounts: Sequence[Account]) -> HostFile | None:
        """`url` is checked already. The file, when at least one of the accounts serves its platform."""
        labels = (urlsplit(url).hostname or "").removeprefix("www.").split(".")
        tails = [".".join(labels[index:]) for index in range(len(labels) - 1)] or labels
        owner = next((self._owners[tail] for tail in tails if tail in self._owners), None)
        if owner is not None:
            file = owner.match(url)
            served = file is not None and self.serving(self.target(file.ref.platform), accounts)
            return file if served else None
        for tail in tails:
            if self.serving(self.target(tail), accounts):
                whole = url.partition("#")[0]
                name = hashlib.sha256(whole.encode()).hexdigest()[:32]
                return HostFile(ref=LinkClass(platform=tail, file_ref=name), url=whole)
        return None

    def targets(self, accounts: Sequence[Account]) -> list[Target]:
        """Everything that any of the accounts serves, sorted by platform."""
        found: dict[str, Target] = {}
        for one, adapter in self.known(accounts):
            if adapter.domains:
                found[adapter.platform] = self.target(adapter.platform)
            for domain in one.domains or one.standing.hosts:
                target = self.target(domain)
                if self.serving(target, [one]):
                    found[target.platform] = target
        return [found[platform] for platform in sorted(found)]


def described(target: Target, serving: Sequence[Serving], breakers: Mapping[Way, Breaker], now: datetime) -> HostInfo:
    """Traffic is the sum of what is known. Where nothing is, or a usable account may have more than the nothing that
    is known, it is unknown."""
    usable = [one for one in serving if one.account.standing.usable(now, target.platform, target.domains)]
    left = [one.account.standing.left(target.domains) for one in serving]
    known = [amount for amount in left if amount is not None]
    unsure = any(one.account.standing.left(target.domains) is None for one in usable)
    states = [one.account.standing.state for one in serving]
    totals = [state.traffic_total for state in states if state is not None and state.traffic_total is not None]
    return HostInfo(
        platform=target.platform,
        name=target.name,
        domains=target.domains,
        max_chunks=max(one.caps.max_chunks for one in serving),
        max_downloads=sum(one.caps.slots for one in serving),
        resumable=all(one.caps.resumable for one in serving),
        working=any(not shut(one.adapter.platform, target.platform, breakers, now) for one in usable),
        traffic_left=None if not known or (unsure and not sum(known)) else sum(known),
        traffic_total=sum(totals) if totals else None,
        updated_at=max(one.account.standing.read_at or one.account.added_at for one in serving),
    )


def ways(via: str, platform: str) -> tuple[Way, ...]:
    """What stands between an account of `via` and a file of `platform`."""
    whole = (Way(via, via), Way(via, via, "bytes"))
    return whole if via == platform else (*whole, Way(via, platform))


def shut(via: str, platform: str, breakers: Mapping[Way, Breaker], now: datetime) -> bool:
    """For sure: one that waits for its probe counts as working, or nobody would come to make it."""
    found = (breakers.get(way) for way in ways(via, platform))
    return any(one is not None and one.open_until is not None and now < one.open_until for one in found)
