"""What the storage service accepts, announces and refuses: files that are safely kept."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

from libs.message import Command, Event, Query, Refusal, repr_without

Instant = Annotated[datetime, Meta(tz=True)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Bytes = Annotated[int, Meta(ge=0)]
Provider = Literal["local", "s3", "blob", "gcs", "oss"]


class About(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a file beside its bytes, for the names of folders. Hints from outside, like names; empty when
    nobody says."""

    site: str = ""
    uploader: str = ""
    collection: str = ""
    """The playlist, the show."""
    date: str = ""
    """On which it was published, as in 2026-01-31."""


class StoreFile(Command, tag="storage.store", kw_only=True, frozen=True):
    """Take a finished file over from a work folder. Repeating it for the same (job, key) returns the first outcome."""

    owner: UUID
    job_id: UUID
    key: Annotated[str, Meta(min_length=1, max_length=512)]
    path: Annotated[str, Meta(min_length=1, max_length=4096)]
    """Relative to the work root shared by workers and storage."""
    name: str
    """A hint from outside; sanitised here and nowhere else."""
    directory: tuple[str, ...] = ()
    about: About = About()
    size: Bytes
    sha256: Digest
    media_type: str = "application/octet-stream"
    target_id: UUID | None = None
    """Where to; None is the owner's own target, or the local disk when there is none."""
    rate: Annotated[int, Meta(ge=1)] | None = None
    """Bytes per second at which it may go to object storage. What the last repetition says holds."""


class StoredFile(Struct, frozen=True, kw_only=True):
    file_id: UUID
    owner: UUID
    job_id: UUID
    key: str
    name: str
    location: str
    """Path below the storage root, `/`-separated; in object storage the key."""
    size: Bytes
    sha256: Digest
    media_type: str
    stored_at: Instant
    target_id: UUID | None = None
    """None for the local disk."""
    provider: Provider = "local"
    bucket: str | None = None


class ConfigureTarget(Command, tag="storage.configure_target", kw_only=True, frozen=True):
    """Object storage of the owner's own. It is written to and read from before it is kept, sealed; the reply is a
    `TargetInfo`. A `standing` one takes every later file of the owner, the one that was configured last first."""

    owner: UUID
    target_id: UUID
    credentials: dict[str, Any]
    """As `services.storage.targets` reads them; `provider` says which kind."""
    standing: bool = True

    def __repr__(self) -> str:
        return repr_without(self, "credentials")


class RemoveTarget(Command, tag="storage.remove_target", kw_only=True, frozen=True):
    """Its credentials go at once; what was stored there stays there."""

    owner: UUID
    provider: Provider


class ReadTarget(Query, tag="storage.target", kw_only=True, frozen=True):
    """The owner's standing target of this kind."""

    owner: UUID
    provider: Provider


class TargetInfo(Struct, frozen=True, kw_only=True):
    target_id: UUID
    provider: Provider
    bucket: str
    endpoint: str | None
    region: str | None
    folder_prefix: str | None
    base_folder: str
    masked: str
    """What may be shown of the key."""
    configured_at: Instant


class LinkFile(Query, tag="storage.link", kw_only=True, frozen=True):
    """A link to a file in object storage; the reply is a JSON string."""

    owner: UUID | None
    file_id: UUID
    seconds: Annotated[int, Meta(ge=1, le=604_800)]


class ReadFile(Query, tag="storage.file", kw_only=True, frozen=True):
    owner: UUID | None
    file_id: UUID


class FileStored(Event, tag="storage.file_stored", kw_only=True, frozen=True):
    file_id: UUID
    owner: UUID
    job_id: UUID
    key: str
    name: str
    location: str
    size: Bytes
    sha256: Digest
    media_type: str
    at: Instant
    target_id: UUID | None = None
    provider: Provider = "local"
    bucket: str | None = None


class TargetConfigured(Event, tag="storage.target_configured", kw_only=True, frozen=True):
    target_id: UUID
    owner: UUID
    provider: Provider
    bucket: str
    standing: bool
    at: Instant


class TargetRemoved(Event, tag="storage.target_removed", kw_only=True, frozen=True):
    target_id: UUID
    owner: UUID
    provider: Provider
    at: Instant


class FileDeleted(Event, tag="storage.file_deleted", kw_only=True, frozen=True):
    file_id: UUID
    owner: UUID
    job_id: UUID
    at: Instant


class FileNotFound(Refusal, tag="storage.file_not_found", kw_only=True, frozen=True):
    file_id: UUID


NOT_KEPT = "extension"


class FileRejected(Refusal, tag="storage.file_rejected", kw_only=True, frozen=True):
    """The bytes on disk are not what was announced, or the path is not a regular file of this job's folder; with the
    code NOT_KEPT the operator wants no files of this kind, and no other attempt will change that."""

    code: str


class StillStoring(Refusal, tag="storage.still_storing", kw_only=True, frozen=True):
    """It is on its way; ask again."""


class TargetRejected(Refusal, tag="storage.target_rejected", kw_only=True, frozen=True):
    """Nothing changes until somebody changes the settings."""

    code: str


class TargetUnavailable(Refusal, tag="storage.target_unavailable", kw_only=True, frozen=True):
    """Worth another try later."""

    code: str


class TargetNotFound(Refusal, tag="storage.target_not_found", kw_only=True, frozen=True):
    pass


class StorageFull(Refusal, tag="storage.full", kw_only=True, frozen=True):
    """The target has no room; worth another try later."""
