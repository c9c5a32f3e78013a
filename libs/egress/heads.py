"""The heads of HTTP/1 messages as a proxy must read them: strictly from the client, and never passed on as such."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from msgspec import Struct

END = b"\r\n\r\n"

Field = tuple[str, str]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"[\x21-\x7e\x80-\xff]+")
_STATUS = re.compile(r"HTTP/1\.[01] ([1-5][0-9]{2})( [^\r\n\0]*)?")
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "x-longshore-egress",
    }
)
_FRAMING = frozenset({"host", "content-length", "transfer-encoding"})
"""A Connection header may name headers to drop; these it may not, or both sides would see different messages."""


class BadHead(ValueError):
    """This is not a message that can be passed on."""


class Asked(Struct, frozen=True, kw_only=True):
    """What a client wants: a tunnel to host and port (`head` None), or a request to send there."""

    host: str
    port: int
    head: bytes | None = None
    body: int | None = 0
    """Bytes that follow the head; None when only their own framing says."""


def read_fields(head: bytes) -> tuple[str, list[Field]]:
    """The first line and the headers. Raises BadHead."""
    first, *lines = head.removesuffix(END).decode("latin-1").split("\r\n")
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or any(bad in line for bad in "\r\n\0"):
            raise BadHead("malformed header")
        fields.append((name, value.strip(" \t")))
    return first, fields


def read_request(first: str, fields: list[Field]) -> Asked:
    """Raises BadHead."""
    method, _, rest = first.partition(" ")
    target, _, version = rest.partition(" ")
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target) or version not in {"HTTP/1.1", "HTTP/1.0"}:
        raise BadHead("malformed request")
    try:
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadHead("malformed target") from error
    if not host or "@" in parts.netloc or port == 0:
        raise BadHead("malformed target")
    if method == "CONNECT":
        if port is None or parts.path or parts.query:
            raise BadHead("malformed target")
        return Asked(host=host, port=port)
    if parts.scheme != "http":
        raise BadHead("only http targets can be asked for without a tunnel")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kept = [("Host", parts.netloc), *(field for field in _passed_on(fields) if field[0].lower() != "host")]
    return Asked(host=host, port=port or 80, head=_head(f"{method} {path} HTTP/1.1", kept), body=_body_length(fields))


def answer_head(head: bytes) -> tuple[int, bytes]:
    """Status, and the head to pass on. What is malformed in it is left out. Raises BadHead."""
    first, *lines = head.removesuffix(END).decode("latin-1").split("\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise BadHead("the host does not speak HTTP")
    pairs = [(name, value.strip(" \t")) for name, colon, value in (line.partition(":") for line in lines) if colon]
    clean = [(name, value) for name, value in pairs if _TOKEN.fullmatch(name) and not any(c in value for c in "\r\n\0")]
    return int(status[1]), _head(first, _passed_on(clean), close=not status[1].startswith("1"))


def _head(first: str, fields: list[Field], *, close: bool = True) -> bytes:
    """One exchange a connection: what followed it could be for another host."""
    lines = [first, *(f"{name}: {value}" for name, value in fields), *(["Connection: close"] if close else [])]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _passed_on(fields: list[Field]) -> list[Field]:
    named = {
        token.strip().lower() for name, value in fields if name.lower() == "connection" for token in value.split(",")
    }
    dropped = _HOP_BY_HOP | (named - _FRAMING)
    return [field for field in fields if field[0].lower() not in dropped]


def _body_length(fields: list[Field]) -> int | None:
    lengths = {value for name, value in fields if name.lower() == "content-length"}
    codings = [value.lower() for name, value in fields if name.lower() == "transfer-encoding"]
    if codings:
        if codings != ["chunked"] or lengths:
            raise BadHead("the length of the body is ambiguous")
        return None
    if len(lengths) > 1 or not all(value.isascii() and value.isdecimal() and len(value) < 19 for value in lengths):
        raise BadHead("the length of the body is ambiguous")
    return int(lengths.pop()) if lengths else 0
