"""What an HTTP answer means for a download: its name, its range, and of which class a failure is."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote, unquote_to_bytes, urljoin, urlsplit

import aiohttp
from msgspec import Struct

from libs.egress.policy import refusal
from proto.job import Failure, FailureKind
from services.job.engines import EngineFailed
from services.job.engines.manifest import Identity
from services.job.engines.statuses import by_status

LOST = "connection_lost"
"""Code of the one failure after which the engine itself goes on."""
LONGEST_WAIT = timedelta(days=7)
LONGEST_NAME = 1000

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_UNSATISFIED = re.compile(r"bytes \*/([0-9]{1,18})")
_TOKEN = re.compile(r"[\w!#$&^.+-]{1,60}/[\w!#$&^.+-]{1,60}")
_FILENAME = re.compile(r";\s*filename\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^;\s]+))", re.IGNORECASE)
_FILENAME_STAR = re.compile(r";\s*filename\*\s*=\s*\"?(utf-8|iso-8859-1)'[^']*'([^;\s\"]+)", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_PACKED = {"gzip": {"application/gzip", "application/x-gzip", "application/x-tgz", "application/x-gtar"}}
_PACKED_NAMES = {"gzip": (".gz", ".tgz", ".svgz", ".emz"), "br": (".br",), "zstd": (".zst",)}
_NOTHING = frozenset({"", ".", ".."})
_UNKNOWN_TYPES = frozenset({"application/octet-stream", "binary/octet-stream", "application/force-download"})


class Part(Struct, frozen=True):
    """What a 206 brings: bytes start..stop, of `total` when the server knows."""

    start: int
    stop: int
    total: int | None


def failed(kind: FailureKind, code: str, message: str, retry_at: datetime | None = None) -> EngineFailed:
    return EngineFailed(Failure(kind=kind, code=code, message=message, retry_at=retry_at))


def identity(url: str, response: aiohttp.ClientResponse) -> Identity:
    name = file_name(response)
    return Identity(
        url=url,
        size=response.content_length,
        etag=response.headers.get("ETag"),
        last_modified=response.headers.get("Last-Modified"),
        name=name,
        media_type=_media_type(response, name),
        place=place(response),
    )


def coding(response: aiohttp.ClientResponse, size: int | None) -> str:
    """With what the server compressed the file though it was asked not to; empty for none. `size` is what the file is
    known to have. Of a file that is an archive itself many a server says how it was packed: that is the file."""
    said = response.headers.get("Content-Encoding", "").strip().lower().removeprefix("x-")
    if said in {"", "identity", "none"} or (size is not None and size == response.content_length):
        return ""
    packed = response.content_type.lower() in _PACKED.get(said, ()) or file_name(response).lower().endswith(
        _PACKED_NAMES.get(said, ())
    )
    return "" if packed else said


def place(response: aiohttp.ClientResponse) -> str:
    """The same for answers of one address."""
    return hashlib.sha256(str(response.url).encode()).hexdigest()[:16]


def same_version(known: Identity, response: aiohttp.ClientResponse) -> bool:
    """Some servers ignore If-Range; what they send all the same is believed only with the validator we know."""
    found = response.headers
    if known.etag and "ETag" in found:
        return found["ETag"].removeprefix("W/") == known.etag.removeprefix("W/")
    return "Last-Modified" not in found or found["Last-Modified"] == known.last_modified


def part(response: aiohttp.ClientResponse) -> Part | None:
    """None when the header can not be believed."""
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None:
        return None
    start, stop, total = int(found[1]), int(found[2]) + 1, None if found[3] == "*" else int(found[3])
    length = response.content_length
    if start >= stop or (total is not None and stop > total) or length not in {None, stop - start}:
        return None
    return Part(start, stop, total)


def unsatisfied(response: aiohttp.ClientResponse) -> int | None:
    """The size that a 416 names."""
    found = _UNSATISFIED.fullmatch(response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def redirected(response: aiohttp.ClientResponse, url: str) -> str | None:
    """Where the answer leads. What browsers forgive in a Location (spaces, raw UTF-8) is encoded."""
    location = response.headers.get("Location")
    if response.status not in {301, 302, 303, 307, 308} or not location:
        return None
    raw = location.strip().encode("utf-8", "surrogateescape")
    try:
        return urljoin(url, quote(raw, safe="%!#$&'()*+,/:;=?@[]~|^`{}"))
    except ValueError as error:
        raise failed("content", "bad_answer", "the link is redirected to something that is no link") from error


def file_name(response: aiohttp.ClientResponse) -> str:
    """A hint from the header (RFC 6266: filename* wins) or the path; storage makes it safe."""
    header = response.headers.get("Content-Disposition", "")
    path = unquote(urlsplit(str(response.url)).path, errors="replace")
    for name in (_extended_name(header), _plain_name(header), path):
        last = _CONTROLS.sub("", name.replace("\\", "/")).rsplit("/", 1)[-1].strip()[-LONGEST_NAME:]
        if last not in _NOTHING:
            return last
    return "download"


def _extended_name(header: str) -> str:
    found = _FILENAME_STAR.search(header)
    return unquote_to_bytes(found[2]).decode(found[1], "replace") if found else ""


def _plain_name(header: str) -> str:
    found = _FILENAME.search(header)
    if found is None:
        return ""
    if found[1] is not None:
        # A quoted Windows path is far more common than an escaped character.
        return re.sub(r"\\([\"\\])", r"\1", found[1])
    return unquote(found[2], errors="replace")


def _media_type(response: aiohttp.ClientResponse, name: str) -> str:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if _TOKEN.fullmatch(kind) and kind not in _UNKNOWN_TYPES:
        return kind
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def raise_for(response: aiohttp.ClientResponse) -> None:
    """Raises EngineFailed unless the answer brings bytes of the file."""
    status = response.status
    if status in {200, 206}:
        return
    wait = retry_after(response.headers.get("Retry-After"))
    raise failed(*by_status(status), wait if status == 429 or status >= 500 else None)


def retry_after(value: str | None, now: datetime | None = None) -> datetime | None:
    """Seconds or an HTTP date, a week at the most; None for anything else."""
    if value is None:
        return None
    now = now or datetime.now(UTC)
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return now + min(timedelta(seconds=int(value[:9])), LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(value)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return min(max(at.astimezone(UTC), now), now + LONGEST_WAIT)
    except (ValueError, OverflowError):
        return None


def classified(error: BaseException) -> EngineFailed:
    """An error of the client while it connects or reads."""
    if (refused := refusal(error)) is not None:
        return failed("permanent", "egress_refused", refused)
    if isinstance(error, (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError)):
        return failed("content", "bad_certificate", "the server's certificate is not valid")
    if isinstance(error, aiohttp.SocketTimeoutError):
        return failed("transient", LOST, "the server fell silent")
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError)):
        return failed("host_down", "unreachable", "the server can not be reached")
    if isinstance(error, (aiohttp.InvalidURL, aiohttp.ClientResponseError)):
        return failed("content", "bad_answer", "the server's answer can not be read")
    return failed("transient", LOST, "the connection was lost")
