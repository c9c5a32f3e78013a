"""What a link from outside must look like before it is stored, handed to an engine, or followed."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from libs.egress.policy import PORTS, EgressPolicy, literal_address, reachable, unwrap

LONGEST = 8192

Code = Literal["too_long", "bad_characters", "bad_scheme", "userinfo", "bad_host", "bad_port", "private_address",
               "smuggled"]

_BAD = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\\<>\"^`{|}]")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_INSIDE = ("localhost", "local", "internal", "localdomain", "home.arpa", "lan", "intranet")


class BadLink(ValueError):
    """This link can not be taken; `code` is stable, the message is for people."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_link(link: str, policy: EgressPolicy) -> None:
    """Raises BadLink. What a name resolves to is judged later, when it is connected to; here is only what the text
    gives away."""
    if len(link) > LONGEST:
        raise BadLink("too_long", f"a link may have {LONGEST} characters")
    if _BAD.search(link):
        raise BadLink("bad_characters", "the link has characters that no link may have")
    if not link.lower().startswith(("http://", "https://")):
        raise BadLink("bad_scheme", "only http and https links are taken")
    try:
        parts = urlsplit(link)
        port = parts.port
    except ValueError as error:
        raise BadLink("bad_host", "the link's host can not be read") from error
    if "@" in parts.netloc:
        raise BadLink("userinfo", "a link may not carry a user name or password")
    if "__youtubedl_smuggle" in link:
        raise BadLink("smuggled", "the link carries data for an engine")
    if parts.netloc.endswith(":") or port == 0:
        raise BadLink("bad_port", "the link's port can not be used")
    _check_host(parts.hostname or "", port or (443 if parts.scheme == "https" else 80), policy)


def _check_host(host: str, port: int, policy: EgressPolicy) -> None:
    if policy.mapped(host, port) is not None:
        return
    literal = literal_address(host)
    if literal is not None:
        if policy.open(unwrap(literal)):
            return
        if not reachable(literal):
            raise BadLink("private_address", "the link leads to an address that is not on the public internet")
    else:
        _check_name(host)
    if port not in PORTS:
        raise BadLink("bad_port", f"port {port} is not open")


def _check_name(host: str) -> None:
    try:
        labels = host.encode("idna").decode().rstrip(".").lower().split(".")
    except UnicodeError as error:
        raise BadLink("bad_host", "the link's host is not a name") from error
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise BadLink("bad_host", "the link's host is not a name")
    name = ".".join(labels)
    if len(labels) < 2 or labels[-1].isdecimal() or any(name == one or name.endswith(f".{one}") for one in _INSIDE):
        raise BadLink("private_address", "the link leads to a host that is not on the public internet")
