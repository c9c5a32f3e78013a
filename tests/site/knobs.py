"""What a query string can ask of a served file; every knob combines with every other.

Counts ("the first K times") are per address including its query string, so two tests that use different file names
never disturb each other. All methods count. Anything misspelt is answered 400.

| knob | effect |
|---|---|
| `ranges=0` | Range is ignored and not announced |
| `length=wrong` | Content-Length promises 1,000 bytes more than come, then the connection closes |
| `length=short` | Content-Length promises 1,000 bytes less; the rest is never sent |
| `length=none` | no Content-Length (chunked) |
| `cut=N` | connection reset after N body bytes of this response, the first `cut_times` (1) times; 0 times = always |
| `cut_how=close` | the cut is an orderly close instead of a reset |
| `etag=changing` | the file is replaced (new ETag, new bytes: `version=2`, 3, ...) whenever a response was broken off |
| `etag=always` | another ETag for every request, same bytes |
| `etag=weak`, `etag=none` | a weak ETag; no ETag and no Last-Modified |
| `fail=S` or `status=S` | answers status S (an HTML page) the first `times` times; without `times`: always |
| `then=S` | answers status S from the second request on |
| `retry_after=N` | Retry-After (seconds) on those answers |
| `rate=B` | at most B bytes per second |
| `gate=NAME` | holds the response until NAME is released |
| `gate_at=N` | where: before byte N of the file, half of the file when not given; `head` = before the status line. |
| | A range that starts beyond it is not held; one that starts exactly there is not either, except at 0 |
| `auth=USER:PASSWORD` | 401 without these Basic credentials |
| `cookie=NAME:VALUE` | 403 without this cookie |
| `type=T` | Content-Type |
| `disposition=KIND` | Content-Disposition from files.HOSTILE_NAMES, or attachment with this very name |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal

import msgspec


class Knobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ranges: bool = True
    length: Literal["right", "wrong", "short", "none"] = "right"
    cut: int | None = None
    cut_times: int = 1
    cut_how: Literal["reset", "close"] = "reset"
    etag: Literal["strong", "weak", "none", "changing", "always"] = "strong"
    fail: int | None = None
    status: int | None = None
    times: int | None = None
    then: int | None = None
    retry_after: int | None = None
    rate: int | None = None
    gate: str | None = None
    gate_at: int | Literal["head"] | None = None
    auth: str | None = None
    cookie: str | None = None
    type: str | None = None
    disposition: str | None = None


def read_knobs(query: Mapping[str, str]) -> Knobs:
    """Raises msgspec.ValidationError, naming the knob."""
    return msgspec.convert(dict(query), Knobs, strict=False)


class Counts(msgspec.Struct, kw_only=True):
    """How often each address was asked, cut, and broken off (cut, or left by the client)."""

    asked: Counter[str] = msgspec.field(default_factory=Counter)
    cut: Counter[str] = msgspec.field(default_factory=Counter)
    broken: Counter[str] = msgspec.field(default_factory=Counter)
