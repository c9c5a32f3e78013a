"""What yt-dlp's errors mean for a job: the classes of `proto.job.Failure`, in words without names of tools."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from yt_dlp.networking.exceptions import HTTPError, IncompleteRead, ProxyError, SSLError, TransportError
from yt_dlp.utils import (
    ContentTooShortError,
    ExtractorError,
    GeoRestrictedError,
    PostProcessingError,
    UnsupportedError,
    UserNotLive,
)

from services.job.engines.statuses import by_status

Verdict = dict[str, str]
"""kind, code, message and, if the server said so, retry_at: the fields of `proto.job.Failure`."""

_CLOSED = ("transient", "egress_lost", "the way out was closed")
_SAID: tuple[tuple[re.Pattern[str], tuple[str, str, str]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), verdict)
    for pattern, verdict in (
        (r"\bdrm\b", ("content", "drm", "this is protected against copying")),
        (
            r"log ?in|sign ?in|cookies|members.only|registered users|subscribers? only|password",
            ("auth_required", "auth_required", "the site asks for a login"),
        ),
        (
            r"geo.?restrict|your (country|region|location)",
            ("content", "geo_restricted", "this is not available in the server's country"),
        ),
        (r"unusual and will be skipped", ("content", "unsafe_type", "a file of this type is not taken")),
        (r"private", ("content", "private", "this is private")),
        (
            r"removed|deleted|no longer|does not exist|not found|terminated",
            ("content", "gone", "there is nothing behind this link"),
        ),
        (
            r"no video formats|no formats|no video could be found|requested format is not available",
            ("content", "no_media", "there is no video or sound behind this link"),
        ),
        (
            r"giving up after|bytes read|timed? ?out|connection (reset|aborted|broken)|remote end closed",
            ("transient", "connection_lost", "the connection was lost"),
        ),
    )
)
_TYPES: tuple[tuple[type | tuple[type, ...], tuple[str, str, str]], ...] = (
    (UnsupportedError, ("content", "unsupported_url", "nothing that can be downloaded was found behind this link")),
    (GeoRestrictedError, ("content", "geo_restricted", "this is not available in the server's country")),
    (UserNotLive, ("content", "live", "this is a live stream, and it is not on")),
    (SSLError, ("content", "bad_certificate", "the server's certificate is not valid")),
    (
        (IncompleteRead, ContentTooShortError, TransportError),
        ("transient", "connection_lost", "the connection was lost"),
    ),
    (PostProcessingError, ("transient", "processing_failed", "the file could not be processed")),
)
_HTTP = re.compile(r"HTTP Error (\d{3})")
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_PATH = re.compile(r"(?<![\w:/.])/(?:[\w.+-]+/)+[\w.+-]*")
_WHERE = re.compile(r"^(ERROR:\s*)?(\[[\w:.+-]+\]\s*)?")
_ADVICE = re.compile(
    r"[;.,]?\s*(please report|confirm you are on|you might want to|use --|see\s+https://git|\(caused by).*",
    re.IGNORECASE | re.DOTALL,
)
_TOOL = re.compile(r"yt[-_]dlp|youtube[-_]dlc?|ffmpeg|ffprobe", re.IGNORECASE)


class Impossible(PostProcessingError):  # type: ignore[misc]  # yt-dlp has no types
    """What is wanted can not be made of what is there, now or later."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def classify(error: BaseException) -> Verdict:
    causes = list(_chain(error))
    for cause in causes:
        verdict = _by_type(cause)
        if verdict is not None:
            return verdict
    text = str(error)
    if said := _HTTP.search(text):  # after its own retries only the words are left
        return _by_code(int(said[1]))
    if said := _TUNNEL.search(text):
        return _by_proxy(said[1])
    for pattern, found in _SAID:
        if pattern.search(text):
            return _verdict(*found)
    if any(isinstance(cause, ExtractorError) and cause.expected for cause in causes):
        return _verdict("content", "unavailable", clean(text))
    return _verdict("transient", "engine_error", clean(text))


def _by_type(cause: BaseException) -> Verdict | None:
    if isinstance(cause, HTTPError):
        return _by_status(cause)
    if isinstance(cause, ProxyError):
        return _by_proxy(str(cause))
    if isinstance(cause, Impossible):
        return _verdict("content", cause.code, cause.msg)
    full = isinstance(cause, OSError) and cause.errno in _FULL
    if full or (isinstance(cause, PostProcessingError) and "no space left" in str(cause).lower()):
        return _verdict("transient", "disk_full", "there is no room for this file: the disk is full; make room on it")
    return next((_verdict(*verdict) for kinds, verdict in _TYPES if isinstance(cause, kinds)), None)


def _by_status(error: HTTPError) -> Verdict:
    status, headers = error.status, error.response.headers
    if headers.get("X-Longshore-Egress"):
        return _by_proxy(str(status))
    if status == 429 or (status == 503 and headers.get("Retry-After")):
        verdict = _verdict("rate_limited", f"http_{status}", "the server asks to wait")
        at = _retry_at(headers.get("Retry-After"))
        return {**verdict, "retry_at": at.isoformat()} if at else verdict
    return _by_code(status)


def _by_code(status: int) -> Verdict:
    return _verdict(*(_CLOSED if status == 407 else by_status(status)))


def _by_proxy(text: str) -> Verdict:
    """The proxy's own answer, not the origin's."""
    if "407" in text:
        return _verdict(*_CLOSED)
    if "403" in text:
        return _verdict("permanent", "egress_refused", "this address may not be reached")
    return _verdict("host_down", "unreachable", "the server can not be reached")


def _retry_at(value: str | None) -> datetime | None:
    """Seconds or an HTTP date; None for anything else."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return datetime.now(UTC) + timedelta(seconds=min(int(value.strip()[:9]), 10_000_000))
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that is behind it, nearest first."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        info = getattr(one, "exc_info", None)
        waiting += [getattr(one, "cause", None), info[1] if info else None, one.__cause__, one.__context__]


def clean(text: str) -> str:
    """For people: no colours, no paths of this machine, no names of tools, no advice for a command line."""
    text = _ADVICE.sub("", _WHERE.sub("", _ANSI.sub("", text)))
    return _TOOL.sub("the downloader", _PATH.sub("a file", text)).strip()[:300] or "the download failed"


def _verdict(kind: str, code: str, message: str) -> Verdict:
    return {"kind": kind, "code": code, "message": message}
