"""What a request's headers make of the answer, and what the answer says of the file. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import quote

from msgspec import Struct

from libs.serving.ranges import Span, content_range, parse

_TAG = re.compile(r'(?P<weak>W/)?(?P<tag>"[\x21\x23-\x7e\x80-\xff]*")')
_TYPE = re.compile(r"(?:video|audio|image|application|font)/[a-z0-9][a-z0-9.+_-]*")
_ACTIVE = ("html", "xml", "svg", "json", "script", "flash")
OPAQUE = "application/octet-stream"


class Served(Struct, frozen=True, kw_only=True):
    """A file as it is known outside. What `digest` names never changes, so it is a strong validator, and so is
    `modified_at`."""

    name: str
    size: int
    digest: str
    media_type: str
    modified_at: datetime

    @property
    def etag(self) -> str:
        return f'"{self.digest}"'

    @property
    def last_modified(self) -> str:
        return format_datetime(self.modified_at.astimezone(UTC).replace(microsecond=0), usegmt=True)


class Verdict(NamedTuple):
    """`spans` are what is sent: of a 200 the whole, of a 206 one or more; nothing of an empty file, a 304, 412, 416."""

    status: int
    spans: tuple[Span, ...] = ()


def joined(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By lower-case name; a header that came several times is one list (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def judge(method: str, headers: Mapping[str, str], file: Served) -> Verdict:
    """Preconditions in the order of RFC 9110, 13.2.2. A range is of GET alone (14.2)."""
    whole = Verdict(200, (Span(0, file.size - 1),) if file.size else ())
    if "if-match" in headers:
        if not _among(headers["if-match"], file, weakly=False):
            return Verdict(412)
    elif (since := _date(headers.get("if-unmodified-since"))) is not None and _changed_since(file, since):
        return Verdict(412)
    if "if-none-match" in headers:
        if _among(headers["if-none-match"], file, weakly=True):
            return Verdict(304)
    elif (since := _date(headers.get("if-modified-since"))) is not None and not _changed_since(file, since):
        return Verdict(304)
    if method != "GET" or "range" not in headers or not _same(headers.get("if-range"), file):
        return whole
    spans = parse(headers["range"], file.size)
    if spans is None:
        return whole
    return Verdict(206, spans) if spans else Verdict(416)


def _among(header: str, file: Served, *, weakly: bool) -> bool:
    if header == "*":
        return True
    return any(one["tag"] == file.etag and (weakly or not one["weak"]) for one in _TAG.finditer(header))


def _same(if_range: str | None, file: Served) -> bool:
    """An entity tag is compared strongly and a date exactly (13.1.5)."""
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range == file.etag
    return _date(if_range) == file.modified_at.astimezone(UTC).replace(microsecond=0)


def _changed_since(file: Served, since: datetime) -> bool:
    return file.modified_at.replace(microsecond=0) > since


def _date(text: str | None) -> datetime | None:
    """None for what is no date: such a condition is not regarded."""
    if text is None:
        return None
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def validators(file: Served) -> dict[str, str]:
    return {"etag": file.etag, "last-modified": file.last_modified, "cache-control": "private, no-transform"}


def described(file: Served) -> dict[str, str]:
    """What every answer says that has the file's bytes. No browser may take them for a page of ours."""
    return {
        **validators(file),
        "accept-ranges": "bytes",
        "content-type": safe_type(file.media_type),
        "content-disposition": disposition(file.name),
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
    }


def safe_type(media_type: str) -> str:
    """A type that no browser renders and no download manager takes for an error page."""
    essence = media_type.partition(";")[0].strip().lower()
    if _TYPE.fullmatch(essence) is None or any(word in essence for word in _ACTIVE):
        return OPAQUE
    return essence


def disposition(name: str) -> str:
    """RFC 6266: a plain name for old clients, and the whole one in UTF-8 as RFC 8187 (once 5987) spells it."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%;' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


class Multipart(NamedTuple):
    """What stands before each span, what stands after the last, and the length of the whole body."""

    heads: tuple[bytes, ...]
    tail: bytes
    length: int


def multipart(spans: tuple[Span, ...], file: Served, boundary: str) -> Multipart:
    """RFC 9110, 14.6."""
    heads = tuple(
        (
            f"\r\n--{boundary}\r\nContent-Type: {safe_type(file.media_type)}\r\n"
            f"Content-Range: {content_range(span, file.size)}\r\n\r\n"
        ).encode()[0 if index else 2 :]
        for index, span in enumerate(spans)
    )
    tail = f"\r\n--{boundary}--\r\n".encode()
    return Multipart(heads, tail, sum(map(len, heads)) + sum(span.length for span in spans) + len(tail))
