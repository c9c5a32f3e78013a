"""One call to a platform: a bounded answer, read as what its protocol promises, or a HostError; never with a secret."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, quote_plus, urlsplit

import aiohttp
import msgspec
from msgspec import Meta, Struct

from libs.egress.bodies import bounded
from services.unrestrict_proxy.adapters.contract import HostError, Line
from services.unrestrict_proxy.adapters.verdicts import BAD_ANSWER, DOWN, FLOOD, UNKNOWN, Verdict

T = TypeVar("T")

LONGEST_ANSWER = 1 << 20
LONGEST_DETAIL = 2000
LONGEST_PAUSE = 86400.0
CHUNKS_MOST = 16

Bytes = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
LAST_MOMENT = 253_402_300_799
"""Unix seconds of the end of the year 9999."""
Moment = Annotated[int, Meta(ge=0, le=LAST_MOMENT)]

_LINK = re.compile(r"""(?i)(https?:\\?/\\?/[^\s"'<>/\\?#]*)[^\s"'<>]*""")
_SECRET_KEY = re.compile(
    r"""(?i)("[^"]*(?:token|pass|secret|api_?key|auth|cookie|session|challenge)[^"]*"\s*:\s*")[^"]*"""
)
_BAD_IN_LINK = re.compile(r"[\x00-\x20\x7f\\]")


class Reply(Struct, frozen=True, kw_only=True):
    """`retry_after` in seconds. `secrets` is what must not be shown of it."""

    status: int
    body: bytes
    retry_after: float | None = None
    headers: Mapping[str, str] = {}
    cookies: Mapping[str, str] = {}
    secrets: tuple[str, ...] = ()
    whole: bool = True

    def __repr__(self) -> str:
        return f"Reply(status={self.status!r})"

    def read(self, kind: type[T]) -> T:
        """Numbers that come as strings are numbers. Raises HostError when the answer is not of this kind."""
        if not self.whole or 300 <= self.status < 400:
            raise self.broken()
        try:
            return msgspec.json.decode(self.body, type=kind, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self.broken() from None

    def part(self, raw: msgspec.Raw, kind: type[T]) -> T:
        """As `read`, for a part of the answer that was left as it came."""
        try:
            return msgspec.json.decode(raw, type=kind, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self.broken() from None

    def broken(self) -> HostError:
        """For an answer that is not what the protocol promises."""
        code = f"http_{self.status}" if self.status != 200 else "bad_answer"
        if self.status >= 500:
            return self.refused(DOWN, code)
        return self.refused(FLOOD if self.status == 429 else BAD_ANSWER, code)

    def refused(self, verdict: Verdict, code: str | int, *, retry_after: float | None = None) -> HostError:
        """`retry_after` of the answer's own words goes before the header's, and that before the table's."""
        said = retry_after if retry_after is not None else self.retry_after
        return verdict.error(shown(str(code), self.secrets)[:100], retry_after=said, detail=self.detail)

    @property
    def detail(self) -> str:
        return shown(self.body[: 4 * LONGEST_DETAIL].decode(errors="replace"), self.secrets)[:LONGEST_DETAIL]

    def link(self, url: str) -> str:
        """A link that can be fetched. Raises HostError for anything else."""
        try:
            parts = urlsplit(url)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            good = False
        if not good or _BAD_IN_LINK.search(url):
            raise self.refused(BAD_ANSWER, "bad_link")
        return url


def shown(text: str, secrets: Collection[str]) -> str:
    """Without the secrets in any spelling, without what follows the host in links, without values that are secret by
    their names."""
    spellings = {
        spelling
        for secret in secrets
        if secret
        for spelling in (secret, quote(secret, safe=""), quote_plus(secret), msgspec.json.encode(secret).decode()[1:-1])
    }
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, "***")
    return _SECRET_KEY.sub(r"\1***", _LINK.sub(r"\1/***", text))


async def ask(
    line: Line,
    method: str,
    url: str,
    *,
    hidden: Sequence[str] = (),
    params: Sequence[tuple[str, str]] = (),
    form: Sequence[tuple[str, str]] | None = None,
    json: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    cookies: Mapping[str, str] | None = None,
    most: int = LONGEST_ANSWER,
) -> Reply:
    """Lets through that the platform was not reached, in words without the address, which may hold a secret. Secret
    are the line's, `hidden` and what goes out as a password, whosever it is. Redirects are not followed, and a body
    longer than `most` bytes is not read to its end."""
    sent = [*params, *(form or ()), *(json or {}).items()]
    passwords = [value for name, value in sent if "pass" in name and isinstance(value, str)]
    try:
        async with line.http.request(
            method,
            url,
            params=list(params) or None,
            data=None if form is None else list(form),
            json=json,
            headers=headers,
            cookies=cookies,
            allow_redirects=False,
        ) as answer:
            body = await bounded(answer, most + 1)
            reply = Reply(
                status=answer.status,
                body=body[:most],
                retry_after=_pause(answer.headers.get("Retry-After")),
                headers=answer.headers.copy(),
                cookies={name: morsel.value for name, morsel in answer.cookies.items()},
                secrets=(*line.secrets, *hidden, *passwords),
                whole=len(body) <= most,
            )
    except aiohttp.ClientResponseError as error:
        raise HostError("request", 106, "bad_http", f"The platform's answer is not HTTP ({error.status}).") from None
    except aiohttp.ConnectionTimeoutError:
        raise TimeoutError("connect to the platform: timed out") from None
    return reply


def _pause(header: str | None) -> float | None:
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return min(float(header[:9]), LONGEST_PAUSE)
    try:
        until = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    seconds = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def by_status(status: int, known: Mapping[int, Verdict]) -> Verdict:
    """Where the answer has no word that is known."""
    return known.get(status, DOWN if status >= 500 else UNKNOWN)


def chunks(said: int | None) -> int | None:
    return min(said, CHUNKS_MOST) if said is not None and said > 0 else None


def moment(seconds: int | None) -> datetime | None:
    """0 is how several platforms write that there is none."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def instant(text: str | None) -> datetime | None:
    """Of a date in words, in UTC unless it says otherwise; None when it is none."""
    try:
        found = datetime.fromisoformat((text or "").strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
