"""What a link from outside must look like before it is stored, handed to an engine, or followed."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal
from urllib.parse import SplitResult, quote, unquote, urlsplit

import idna

from libs.egress.addresses import literal_address, reachable, unwrap
from libs.egress.policy import PORTS, EgressPolicy

LONGEST = 8192

Code = Literal[
    "too_long", "bad_characters", "bad_scheme", "userinfo", "bad_host", "bad_port", "private_address", "smuggled"
]

_BAD = re.compile(r"[\s\x00-\x20\x7f-\x9f\\<>\"\ud800-\udfff]")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_INSIDE = ("localhost", "local", "internal", "localdomain", "home.arpa", "lan", "intranet")
_KEPT = "%!#$&'()*+,/:;=?@[]~"
"""Everything that may stand in a link as it is; all else is percent-encoded, and nothing is ever decoded: signatures
of a link cover its spelling."""


class BadLink(ValueError):
    """This link can not be taken; `code` is stable, the message is for people."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_link(link: str, policy: EgressPolicy) -> str:
    """The link as it is asked for: lower-case scheme, host in punycode, everything else encoded but not decoded.
    Raises BadLink. What a name resolves to is judged later, when it is connected to; here is only what the text
    gives away."""
    if len(link) > LONGEST:
        raise BadLink("too_long", f"a link may have {LONGEST} characters")
    if _BAD.search(link):
        raise BadLink("bad_characters", "the link has characters that no link may have")
    if not link[:8].lower().startswith(("http://", "https://")):
        raise BadLink("bad_scheme", "only http and https links are taken")
    if "__youtubedl_smuggle" in unquote(unquote(link)):
        raise BadLink("smuggled", "the link carries data for an engine")
    try:
        parts = urlsplit(link)
    except ValueError as error:
        raise BadLink("bad_host", "the link's host can not be read") from error
    if "@" in parts.netloc:
        raise BadLink("userinfo", "a link may not carry a user name or password")
    default = 443 if parts.scheme == "https" else 80
    port = _port(parts, default)
    if "[" in parts.netloc and ":" not in (parts.hostname or ""):
        raise BadLink("bad_host", "only an IPv6 address stands in brackets")
    host = _checked_host(parts.hostname or "", port, policy)
    rest = "".join(
        (
            parts.path or "/",
            f"?{parts.query}" if parts.query else "",
            f"#{parts.fragment}" if parts.fragment else "",
        )
    )
    return f"{parts.scheme}://{host}{'' if port == default else f':{port}'}{quote(rest, safe=_KEPT)}"


def _port(parts: SplitResult, default: int) -> int:
    try:
        port = parts.port
    except ValueError as error:
        raise BadLink("bad_port", "the link's port can not be used") from error
    if port == 0 or parts.netloc.endswith(":"):
        raise BadLink("bad_port", "the link's port can not be used")
    return port or default


@lru_cache(maxsize=1024)  # a batch's links lead to few hosts, and to judge one costs more than all the rest
def _checked_host(text: str, port: int, policy: EgressPolicy) -> str:
    host = text.removesuffix(".")
    if policy.mapped(host, port) is not None:
        return host
    literal = literal_address(host)
    if literal is None:
        host = _name(host)
        literal = literal_address(host)
    if literal is None:
        _check_name(host, policy)
        if port not in PORTS and not policy.inward:
            raise BadLink("bad_port", f"port {port} is not open")
        return host
    if not policy.open(unwrap(literal)):
        if not reachable(literal):
            raise BadLink("private_address", "the link leads to an address that is not on the public internet")
        if port not in PORTS:
            raise BadLink("bad_port", f"port {port} is not open")
    return f"[{literal}]" if literal.version == 6 else str(literal)


def _name(host: str) -> str:
    """In lower-case ASCII, as browsers would look it up."""
    try:
        name = host if host.isascii() else idna.encode(host, uts46=True).decode()
    except UnicodeError as error:
        raise BadLink("bad_host", "the link's host is not a name") from error
    return name.lower()


def _check_name(name: str, policy: EgressPolicy) -> None:
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadLink("bad_host", "the link's host is not a name")
    if labels[-1].isdecimal() or labels[-1].startswith("0x"):
        raise BadLink("bad_host", "the link's host is neither a name nor an address")
    if policy.inward:
        return
    if len(labels) < 2 or any(name == one or name.endswith(f".{one}") for one in _INSIDE):
        raise BadLink("private_address", "the link leads to a host that is not on the public internet")
