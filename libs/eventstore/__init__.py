"""The event store: what a service decided, in the order in which it can be read by others.

Postgres is the only truth. The events table is the outbox; a relay tails it, and everything downstream can be rebuilt.
"""

from libs.eventstore.postgres import (
    AnyVersion,
    EventStore,
    Exact,
    Exists,
    Expected,
    NoStream,
    NotFirstWrite,
    Outcome,
    Recorded,
    Transaction,
    Write,
    WrongVersion,
)

__all__ = [
    "AnyVersion",
    "EventStore",
    "Exact",
    "Exists",
    "Expected",
    "NoStream",
    "NotFirstWrite",
    "Outcome",
    "Recorded",
    "Transaction",
    "Write",
    "WrongVersion",
]
