"""What the storage service accepts, announces and refuses: files that are safely kept."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from libs.message import Command, Event, Query, Refusal

Instant = Annotated[datetime, Meta(tz=True)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Bytes = Annotated[int, Meta(ge=0)]


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
    size: Bytes
    sha256: Digest
    media_type: str = "application/octet-stream"


class StoredFile(Struct, frozen=True, kw_only=True):
    file_id: UUID
    owner: UUID
    job_id: UUID
    key: str
    name: str
    location: str
    """Path below the storage root, `/`-separated."""
    size: Bytes
    sha256: Digest
    media_type: str
    stored_at: Instant


class DeleteFile(Command, tag="storage.delete", kw_only=True, frozen=True):
    owner: UUID | None
    file_id: UUID


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


class FileDeleted(Event, tag="storage.file_deleted", kw_only=True, frozen=True):
    file_id: UUID
    owner: UUID
    job_id: UUID
    at: Instant


class FileNotFound(Refusal, tag="storage.file_not_found", kw_only=True, frozen=True):
    file_id: UUID


class FileRejected(Refusal, tag="storage.file_rejected", kw_only=True, frozen=True):
    """The bytes on disk are not what was announced, or the path is not a regular file of this job's folder."""

    code: str


class StorageFull(Refusal, tag="storage.full", kw_only=True, frozen=True):
    """The target has no room; worth another try later."""
