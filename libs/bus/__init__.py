"""The message bus, and the one door to NATS: nothing outside this folder imports its client."""

from libs.bus.connection import Bus, open  # noqa: A004 - reads as libs.bus.open
from libs.bus.ensuring import ensure_topology
from libs.bus.following import follow
from libs.bus.publishing import Stream
from libs.bus.replies import BusError, ConnectionLost, Message, Refusing, TimedOut, Unreachable
from libs.bus.work import WorkItem, WorkQueue, enqueue

__all__ = [
    "Bus",
    "BusError",
    "ConnectionLost",
    "Message",
    "Refusing",
    "Stream",
    "TimedOut",
    "Unreachable",
    "WorkItem",
    "WorkQueue",
    "enqueue",
    "ensure_topology",
    "follow",
    "open",
]
