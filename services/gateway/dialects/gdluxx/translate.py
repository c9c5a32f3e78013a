"""Between their words and ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, structs

from libs.message import Refusal, tag
from proto.job import Options, Request, SubmitJobs
from proto.unrestrict_proxy import Cookie, CookieDomain, PutCookies
from services.gateway.blobs import Blob
from services.gateway.dialects.gdluxx import wire
from services.gateway.domain import JobView

MAX_URLS = 200
MAX_IDS = 100
MAX_FALLBACKS = 20
PROTOCOL_VERSION = 1
CAPABILITIES = (
    "cookies.sync",
    "jobs.polling",
    "extraction.directorySource",
    "extraction.accumulate",
    "external.fallbackUrls",
)
"""Honest: the extension looks each up in this list and hides what is not in it."""
COOKIE_BODY_LIMIT = 3_000_000
"""Bytes; the cookies in it are measured when they are sealed."""

_URL = re.compile(r"https?://.+", re.DOTALL)
_DIRECTORY = re.compile(r"[A-Za-z0-9_\-. ]{1,255}")
_INDEX = re.compile(r"\[(\d+|\.+)\]")
_SITE = re.compile(r"[A-Za-z0-9_\-.:]{1,253}")

NO_HEADER = "Authorization header with Bearer token is required"
EMPTY_TOKEN = "Bearer token cannot be empty"  # noqa: S105 - their error text
BAD_KEY = "Invalid API key"
BAD_JSON = "Invalid request body. Expected valid JSON."
NOT_OBJECT = "Invalid request body. Expected a JSON object."
NO_URL = "Missing required field: urlToProcess or urls"
BAD_URL = "Invalid URL format. Must be HTTP or HTTPS"
BAD_PAYLOAD = "Invalid JSON payload."
BAD_IDEMPOTENCY = "Invalid Idempotency-Key: it must have 1 to 255 characters"
BAD_IDS = "Invalid or missing ids parameter (comma-separated, max 100)."


class Invalid(ValueError):
    """Their text for a 400."""


def decode(body: bytes) -> wire.External:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(BAD_JSON) from error
    if not isinstance(decoded, dict):
        raise Invalid(NOT_OBJECT)
    return msgspec.convert(decoded, wire.External)


def urls(body: wire.External) -> list[str]:
    """Trimmed and otherwise verbatim, because the extension finds its results by them."""
    given = body.urls if isinstance(body.urls, list) else [body.url_to_process] if body.url_to_process else []
    if not given:
        raise Invalid(NO_URL)
    found: list[str] = []
    for one in given:
        if not isinstance(one, str) or not _URL.fullmatch(one.strip()):
            raise Invalid(BAD_URL)
        found.append(one.strip())
    if len(found) > MAX_URLS:
        raise Invalid(f"Too many URLs. Max allowed is {MAX_URLS}.")
    return found


def options(body: wire.External, primary: list[str], usable: Callable[[str], bool]) -> Options:
    directory = [
        _checked(part, pattern, name)
        for part, pattern, name in (
            (body.site_directory, _SITE, "siteDirectory"),
            (body.custom_directory, _DIRECTORY, "customDirectory"),
        )
        if part not in (None, "")
    ]
    # gallery-dl passes over what is there, and the extension shows how many that were.
    return Options(
        directory=tuple(directory),
        fallback_urls=_fallbacks(body.fallback_urls, primary, usable),
        archive="stored",
    )


def _checked(value: object, pattern: re.Pattern[str], name: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Invalid(f"Invalid {name}")
    return value


def _fallbacks(given: object, primary: list[str], usable: Callable[[str], bool]) -> tuple[str, ...]:
    """Advice, never an error: what is bad, double or too many is dropped, and all of it beside several links."""
    if not isinstance(given, list) or len(primary) != 1:
        return ()
    good = (one.strip() for one in given if isinstance(one, str) and _URL.fullmatch(one.strip()) and len(one) < 4096)
    return tuple(dict.fromkeys(one for one in good if one not in primary and usable(one)))[:MAX_FALLBACKS]


def idempotency(name: str | None) -> str | None:
    if name is not None and not 1 <= len(name) <= 255:
        raise Invalid(BAD_IDEMPOTENCY)
    return name


def command(owner: UUID, links: list[str], chosen: Options, make_id: Callable[[], UUID], *, asked: str) -> SubmitJobs:
    """Without a key that says when it is the same request, a link that was sent a moment ago gets the job that it
    has."""
    return SubmitJobs(
        owner=owner,
        dialect="gdluxx",
        batch_id=make_id() if len(links) > 1 else None,
        requests=tuple(Request(job_id=make_id(), url=link, options=chosen) for link in links),
        reuse=not asked,
        asked=asked,
    )


def accepted(links: list[str], job_ids: Mapping[int, UUID], errors: Mapping[int, str]) -> wire.Submission:
    """One result per link, in their order, duplicates included."""
    results = [
        wire.Result(url=link, success=True, job_id=str(job_ids[index]), message="Job started successfully")
        if index in job_ids
        else wire.Result(url=link, success=False, error=errors.get(index, "Not accepted"))
        for index, link in enumerate(links)
    ]
    return wire.Submission(overall_success=not errors, results=results)


def job_ids(text: str | None) -> list[UUID]:
    """Ids that are not ours are no ids of anything: left out, as unknown ones are."""
    parts = [part.strip() for part in (text or "").split(",")]
    if not text or len(parts) > MAX_IDS or not all(1 <= len(part) <= 64 for part in parts):
        raise Invalid(BAD_IDS)
    found: list[UUID] = []
    for part in parts:
        try:
            found.append(UUID(part))
        except ValueError:
            continue
    return found


def job(view: JobView) -> wire.Job:
    """They have no word for waiting: whatever has not ended is running."""
    return wire.Job(
        id=str(view.job_id),
        url=view.url,
        status=status(view),
        start_time=_millis(view.submitted_at),
        end_time=_millis(view.finished_at) if view.finished_at else None,
        exit_code=None if view.finished_at is None else 1 if status(view) == "error" else 0,
        download_count=view.items_done,
        skip_count=view.skipped,
        waiting_for=view.waits[0] if view.waits else UNSET,
        waiting_until=_millis(view.waits[1]) if view.waits else UNSET,
    )


def status(view: JobView) -> Literal["running", "success", "no_action", "error"]:
    if view.state == "completed":
        return "success" if view.items_done else "no_action"
    if view.failure is not None and view.failure.code == "empty" and view.state == "failed":
        return "no_action"  # a gallery without pictures is no mistake to them
    return "error" if view.state in ("failed", "cancelled") else "running"


STATUS: dict[str, int] = {
    "job.idempotency_mismatch": 409,
    "unrestrict_proxy.bad_cookie_domain": 400,
    "unrestrict_proxy.cookies_full": 413,
}
"""HTTP status of our refusals; any other is 400."""


def refusal(refused: Refusal) -> tuple[int, str]:
    """(HTTP status, text)."""
    return STATUS.get(tag(refused), 400), refused.message


def cookies(owner: UUID, payload: bytes, key_name: str) -> PutCookies:
    """Raises Invalid. What serves no request, such as sameSite, is looked at and left out."""
    try:
        upsert = msgspec.json.decode(payload, type=wire.CookieUpsert)
    except msgspec.ValidationError as error:
        raise Invalid(described(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(BAD_PAYLOAD) from error
    return PutCookies(
        owner=owner,
        domain=upsert.domain,
        cookies=tuple(
            Cookie(
                name=one.name,
                value=one.value,
                domain=one.domain,
                path=one.path,
                secure=one.secure,
                host_only=bool(one.host_only),
                expires=None if one.session else one.expiration_date,
            )
            for one in upsert.cookies
        ),
        synced_by=synced_by(upsert.synced_by) or key_name,
    )


def synced_by(given: str | None) -> str | None:
    text = None if given is None else given.strip()
    if text is not None and (not 1 <= len(text) <= 200 or "\0" in text):
        raise Invalid("syncedBy: must have 1 to 200 characters")
    return text


def cookie_backup(domains: Sequence[CookieDomain]) -> wire.CookieBackup:
    newest = max(domains, key=lambda one: one.updated_at, default=None)
    return wire.CookieBackup(
        has_backup=bool(domains),
        domains=[
            wire.CookieDomain(
                domain=one.domain,
                cookie_count=one.cookies,
                expired_count=one.expired,
                earliest_expiry=one.earliest_expiry,
                synced_by=one.synced_by,
                updated_at=_millis(one.updated_at),
            )
            for one in domains
        ],
        domain_count=len(domains),
        cookie_count=sum(one.cookies for one in domains),
        synced_by=newest.synced_by if newest else None,
        updated_at=_millis(newest.updated_at) if newest else None,
    )


def domain(text: str | None) -> str | None:
    """Which cookies are to go; None for all of them."""
    return None if text is None or not text.strip() else text.strip()[:255]


def backup(blob: Blob | None) -> wire.Backup:
    return wire.Backup(
        has_backup=blob is not None,
        bundle=Raw(blob.body if blob else b'{"version":1,"profiles":{}}'),
        profile_count=blob.entries if blob else 0,
        synced_by=blob.synced_by if blob else None,
        updated_at=_millis(blob.updated_at) if blob else None,
    )


def kept(blob: Blob, skipped: wire.Notes, tolerated: wire.Notes) -> wire.BackupKept:
    return wire.BackupKept(**structs.asdict(backup(blob)), skipped=skipped, tolerated=tolerated)


def described(error: Exception) -> str:
    """`cookies.3.secure: Expected ...`, as they name a place in a body."""
    problem, _, place = str(error).partition(" - at ")
    path = _INDEX.sub(r".\1", place.strip("`").removeprefix("$")).removeprefix(".")
    return f"{path or 'payload'}: {problem}"


def _millis(at: datetime) -> int:
    return int(at.timestamp() * 1000)
