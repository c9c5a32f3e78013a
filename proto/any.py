"""What an operator asks of whichever service: how far behind it is, and what it could not apply."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from libs.message import Command, Query, Refusal

Consumer = Annotated[str, Meta(pattern=r"^[a-z_]+\.[a-z_]+$")]
Sequence = Annotated[int, Meta(ge=1)]


class ReadHealth(Query, tag="any.health", kw_only=True, frozen=True):
    """The reply is a `Health`."""


class Health(Struct, frozen=True, kw_only=True):
    """How many seconds behind a service is, as the process that answers sees it."""

    relay: float | None
    """None for a service without a feed."""
    consumers: dict[str, float]
    """By the names of their marks, such as `gateway.jobs`."""
    dead_letters: Annotated[int, Meta(ge=0)]


class ListDeadLetters(Query, tag="any.dead_letters", kw_only=True, frozen=True):
    """Events that a consumer could not apply and went on without, oldest first; the reply is a list of `DeadLetter`."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


class ReadDeadLetter(Query, tag="any.dead_letter", kw_only=True, frozen=True):
    """The reply is a `DeadLetter` with its event."""

    consumer: Consumer
    sequence: Sequence


class RedriveDeadLetter(Command, tag="any.redrive", kw_only=True, frozen=True):
    """Apply it now, after those that came behind it; then it is gone."""

    consumer: Consumer
    sequence: Sequence


class DropDeadLetter(Command, tag="any.drop_dead_letter", kw_only=True, frozen=True):
    """Go on without it for good. The event itself stays in its service's history."""

    consumer: Consumer
    sequence: Sequence


class DeadLetter(Struct, frozen=True, kw_only=True):
    consumer: Consumer
    sequence: Sequence
    event_type: str
    error: str
    at: Annotated[datetime, Meta(tz=True)]
    event: dict[str, Any] | None = None
    """The event's body; None in a list, where it would be too much."""


class NoSuchDeadLetter(Refusal, tag="any.no_such_dead_letter", kw_only=True, frozen=True):
    pass


class StillDead(Refusal, tag="any.still_dead", kw_only=True, frozen=True):
    """It could not be applied this time either; `message` says what happened."""
