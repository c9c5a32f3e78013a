"""The message bus. `libs.bus.jetstream` is the one door to NATS; everything else sees these names."""

from libs.bus.jetstream import (
    Bus,
    BusError,
    Handler,
    Message,
    Refusing,
    Stream,
    TimedOut,
    Unreachable,
    WorkItem,
    WorkQueue,
    ensure_topology,
    open,  # noqa: A004 - reads as libs.bus.open
)

__all__ = [
    "Bus",
    "BusError",
    "Handler",
    "Message",
    "Refusing",
    "Stream",
    "TimedOut",
    "Unreachable",
    "WorkItem",
    "WorkQueue",
    "ensure_topology",
    "open",
]
