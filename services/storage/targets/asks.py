"""What the storage service and the process that speaks to object storage say to each other: JSON, a message a line."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Left = Literal["nothing", "parts", "object"]


class Ask(Struct, frozen=True, kw_only=True, tag_field="do", omit_defaults=True):
    number: int


class _Request(Ask, frozen=True, kw_only=True):
    options: dict[str, str]
    key: str
    call_seconds: float
    """For a request without a body, each time it is tried."""
    part_seconds: float
    """For a request with a part of a file."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.number}, {self.key!r})"


class Put(_Request, frozen=True, kw_only=True, tag="put"):
    source: str
    size: int
    sha256: str
    part: int
    """Bytes of a part; together with `at_once` this bounds the memory."""
    at_once: int
    stop_seconds: float
    """For what is in the air when it is told to stop."""
    rate: int | None = None
    """Bytes per second; None is no limit."""


class Stat(_Request, frozen=True, kw_only=True, tag="stat"):
    pass


class Delete(_Request, frozen=True, kw_only=True, tag="delete"):
    pass


class Discard(_Request, frozen=True, kw_only=True, tag="discard"):
    """Azure keeps parts of a blob that was never finished; a finished one, even an empty one, replaces them."""


class Verify(_Request, frozen=True, kw_only=True, tag="verify"):
    text: str


class Pace(Ask, frozen=True, kw_only=True, tag="pace"):
    """From now on the put of this number goes at this rate. It is not answered."""

    rate: int | None


class Stop(Ask, frozen=True, kw_only=True, tag="stop"):
    """End the work of this number, without leaving a request in the air if it can be helped. It is still answered."""


Asks = Put | Stat | Delete | Discard | Verify | Pace | Stop


class Found(Struct, frozen=True, kw_only=True):
    size: int
    etag: str | None = None
    sha256: str | None = None
    """What was said to be its hash when it was put there."""


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    number: int
    found: Found | None = None
    failed: str | None = None
    """A code; never a text of the service's, which may hold signatures."""
    left: Left = "nothing"
    """By a failure: parts of an unfinished upload, or it may be the object itself."""
