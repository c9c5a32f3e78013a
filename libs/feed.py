"""What goes through a feed: records on their way out of an event store, and on their way in from a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from libs.message import Position


def event_subject(event_type: str, kind: str = "*", stream_id: str = "*") -> str:
    """Where events of this type are published: all of them, or those of one kind of stream, or of one stream."""
    service, _, verb = event_type.partition(".")
    return f"ev.{service}.{kind}.{verb.replace('.', '_')}.{stream_id}"


class WrongSequence(Exception):
    """Somebody else has published to this stream; re-read its end before going on."""


class SinkGone(Exception):
    """The stream does not exist, or its server can not be reached."""


class Tail(Struct, frozen=True):
    """The end of a stream: its last sequence and which event that is."""

    sequence: int
    position: Position


class Outgoing(Struct, frozen=True):
    subject: str
    event_id: str
    headers: Mapping[str, str]
    body: bytes


class Delivered(Struct, frozen=True, kw_only=True):
    """One event as a consumer gets it. Sequence N of a stream is always the same event, even after a rebuild."""

    sequence: int
    position: Position
    event_type: str
    schema_version: int
    stream_id: UUID
    version: int
    recorded_at: datetime
    headers: Mapping[str, str]
    body: bytes
    pending: int = 0
    """Behind it in the stream, for this reader, when it was sent."""


class Sink(Protocol):
    """Where a relay writes. One writer; the end of the sink is the writer's cursor."""

    async def last(self) -> Tail | None:
        """None when the stream is empty; raises SinkGone."""

    async def publish(self, batch: Sequence[Outgoing], expected_last: int) -> int:
        """Append behind sequence `expected_last` and return the new last sequence. Raises WrongSequence when the end is
        elsewhere, and SinkGone. After either an unknown number of the first messages may be in, in order and without a
        gap: read `last` before going on."""
