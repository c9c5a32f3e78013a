"""Which cookies go where. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from proto.unrestrict_proxy import Cookie

DOMAINS_MOST = 500
BYTES_MOST = 2_000_000
"""Of all cookies of a user together, as they are sealed."""

_HOST = re.compile(r"[0-9a-z._:-]{1,255}")


def host_name(text: str) -> str | None:
    """As hosts are compared; None for what is no host's name. Browsers write foreign letters in punycode."""
    name = text.strip().lower().removeprefix(".").removesuffix(".").removeprefix("[").removesuffix("]")
    return name if _HOST.fullmatch(name) else None


def family(host: str) -> tuple[str, ...]:
    """The host and the domains it is below, nearest first; a top-level domain is nobody's, an address has no parent."""
    labels = host.split(".")
    if ":" in host or labels[-1].isdecimal() or len(labels) < 2:
        return (host,)
    return tuple(".".join(labels[index:]) for index in range(len(labels) - 1))


def scopes(cookies: Iterable[Cookie]) -> list[str]:
    """The domains that the cookies themselves say they are for."""
    return sorted({name for one in cookies if (name := host_name(one.domain)) is not None})


def expired(expires: float | None, now: float) -> bool:
    return expires is not None and expires <= now


def usable(kept: Iterable[tuple[str, Iterable[Cookie]]], host: str, now: float) -> list[Cookie]:
    """Of what was synced, domain by domain and oldest first, what a visit of `host` can need: what its browser would
    send there, and what was synced with it for hosts below. The newer of two that are the same cookie counts."""
    above = family(host)
    found: dict[tuple[str, str, str], Cookie] = {}
    for domain, cookies in kept:
        for one in cookies:
            scope = host_name(one.domain)
            if scope is None or expired(one.expires, now):
                continue
            below = domain in above and (scope == domain or scope.endswith(f".{domain}"))
            if below or scope == host or (scope in above and not one.host_only):
                found[one.name, scope, one.path] = one
    return list(found.values())
