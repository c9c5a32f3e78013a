"""Their spelling."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from libs.message import repr_without

T = TypeVar("T")

Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Millis = Annotated[int, Meta(description="Epoch milliseconds")]
Instant = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
_LINK = {"type": "string", "format": "uri"}
_LINKS = {"type": "array", "items": _LINK}
_NAME = {"type": "string", "minLength": 1}


# ---- what they ask --------------------------------------------------------------------------------------------


class External(Struct, frozen=True, rename="camel"):
    """`urlToProcess` or `urls`, which wins. Each field is judged for itself, with words that clients look for."""

    url_to_process: Annotated[Any, Meta(extra_json_schema=_LINK)] = None
    urls: Annotated[Any, Meta(extra_json_schema=_LINKS)] = None
    custom_directory: Annotated[Any, Meta(extra_json_schema={**_NAME, "maxLength": 255})] = None
    site_directory: Annotated[Any, Meta(extra_json_schema={**_NAME, "maxLength": 253})] = None
    fallback_urls: Annotated[Any, Meta(extra_json_schema=_LINKS)] = None


class Hello(Struct, frozen=True, rename="camel"):
    extension_version: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET


class Ids(Struct, frozen=True, kw_only=True):
    """In the query."""

    ids: Annotated[str, Meta(min_length=1, description="Up to a hundred ids, separated by commas")]


class OfDomain(Struct, frozen=True, kw_only=True):
    """In the query."""

    domain: str | UnsetType = UNSET


class Repeatable(Struct, frozen=True, kw_only=True):
    """In the headers. A request that is repeated with its key is answered as the first was, for 24 hours."""

    key: Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType = field(name="idempotency-key", default=UNSET)


class Envelope(Struct, frozen=True, kw_only=True):
    """What a bundle has to have; everything else in it is kept as it came."""

    version: Annotated[int, Meta(ge=0)]
    profiles: dict[str, Raw]


class Upsert(Struct, frozen=True, kw_only=True, rename="camel"):
    bundle: Envelope
    synced_by: str | None = None


class Cookie(Struct, frozen=True, kw_only=True, rename="camel"):
    """An empty name is one."""

    name: Annotated[str, Meta(max_length=4096)]
    value: Annotated[str, Meta(max_length=8192)]
    domain: Annotated[str, Meta(min_length=1, max_length=255)]
    path: Annotated[str, Meta(max_length=2048)] = "/"
    secure: bool
    http_only: bool
    host_only: bool | None = None
    same_site: Literal["no_restriction", "lax", "strict", "unspecified"] | None = None
    session: bool | None = None
    expiration_date: Annotated[float, Meta(ge=0)] | None = None
    """Unix seconds."""

    def __repr__(self) -> str:
        return repr_without(self, "value")


class CookieUpsert(Struct, frozen=True, kw_only=True, rename="camel"):
    domain: Annotated[str, Meta(min_length=1, max_length=255)]
    cookies: Annotated[list[Cookie], Meta(max_length=200)]
    synced_by: str | None = None


# ---- what they are shown --------------------------------------------------------------------------------------


class Result(Struct, frozen=True, kw_only=True, rename="camel"):
    url: str
    success: bool
    job_id: Id | UnsetType = UNSET
    message: str | UnsetType = UNSET
    error: str | UnsetType = UNSET


class Submission(Struct, frozen=True, kw_only=True, rename="camel"):
    overall_success: bool
    results: list[Result]


class Job(Struct, frozen=True, kw_only=True, rename="camel"):
    id: Id
    url: str
    status: Literal["running", "success", "no_action", "error"]
    start_time: Millis
    download_count: int
    skip_count: int
    end_time: Millis | None = None
    exit_code: int | None = None
    waiting_for: str | UnsetType = UNSET
    """Ours: why it is not begun, and until when at the least."""
    waiting_until: Millis | UnsetType = UNSET


class Jobs(Struct, frozen=True, kw_only=True):
    """Ids that are not known are left out."""

    jobs: list[Job]


class CookieDomain(Struct, frozen=True, kw_only=True, rename="camel"):
    domain: str
    cookie_count: int
    expired_count: int
    earliest_expiry: float | None
    """Unix seconds, unlike every other time of theirs."""
    synced_by: str | None
    updated_at: Millis


class CookieBackup(Struct, frozen=True, kw_only=True, rename="camel"):
    has_backup: bool
    domains: list[CookieDomain]
    domain_count: int
    cookie_count: int
    synced_by: str | None
    updated_at: Millis | None


class Note(Struct, frozen=True, kw_only=True):
    id: str
    reason: str


class Notes(Struct, kw_only=True):
    """All are counted, the first are named."""

    NAMED_MOST: ClassVar[int] = 20

    count: int = 0
    profiles: list[Note] = []

    def add(self, key: str, reason: str) -> None:
        self.count += 1
        if len(self.profiles) < self.NAMED_MOST:
            self.profiles.append(Note(id=key, reason=reason))


class Backup(Struct, frozen=True, kw_only=True, rename="camel"):
    has_backup: bool
    bundle: Raw
    profile_count: int
    synced_by: str | None
    updated_at: Millis | None


class BackupKept(Backup, frozen=True, kw_only=True, rename="camel"):
    skipped: Notes
    tolerated: Notes


class Deleted(Struct, frozen=True, kw_only=True):
    deleted: bool


class Pong(Struct, frozen=True, kw_only=True, rename="camel"):
    message: str
    key_id: Id
    key_name: str
    max_batch_urls: int
    server_version: str
    protocol_version: int
    capabilities: tuple[str, ...]


class Success(Struct, Generic[T], frozen=True, kw_only=True):
    success: Annotated[bool, Meta(extra_json_schema={"const": True})]
    data: T
    timestamp: Instant


class Problem(Struct, frozen=True, kw_only=True):
    success: Annotated[bool, Meta(extra_json_schema={"const": False})]
    error: str
    timestamp: Instant
