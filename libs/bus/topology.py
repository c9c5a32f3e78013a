"""Streams, durable consumers and users of the bus as data, and what every service needs of each.

Configurations are in the words of the JetStream API. Which services there are, and what else each may say and hear, is
for whoever uses this to tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

SECOND = 1_000_000_000
"""Durations are nanoseconds on the wire."""


class StreamSpec(Struct, frozen=True, kw_only=True):
    name: str
    config: Mapping[str, object]


class ConsumerSpec(Struct, frozen=True, kw_only=True):
    stream: str
    name: str
    config: Mapping[str, object]


class UserSpec(Struct, frozen=True, kw_only=True):
    """What one nkey may do. Everything that is not named is refused.

    Each user hears its own inbox only; it may answer whatever reached it, once, without naming the asker's inbox.
    """

    name: str
    publish: tuple[str, ...]
    never: tuple[str, ...] = ()
    """Subjects that a wildcard in `publish` would allow and that are refused all the same."""
    hear: tuple[str, ...] = ()

    @property
    def subscribe(self) -> tuple[str, ...]:
        return (f"{self.inbox}.>", *self.hear)

    @property
    def inbox(self) -> str:
        """Prefix of the reply subjects; without a prefix of its own each user could read every reply."""
        return f"_INBOX_{self.name}"


def event_stream(service: str) -> str:
    return f"EV_{service.upper()}"


def events(service: str) -> StreamSpec:
    """One writer, kept for ever: resume tokens and rebuilt read models begin at any sequence."""
    return StreamSpec(
        name=event_stream(service),
        config={
            "subjects": [f"ev.{service}.>"],
            "retention": "limits",
            "storage": "file",
            "discard": "old",
            "allow_atomic": True,
            "allow_direct": True,
            "deny_delete": True,
            "num_replicas": 1,
            "duplicate_window": 120 * SECOND,
        },
    )


def service_user(
    name: str, *, publish: Iterable[str] = (), never: tuple[str, ...] = (), hear: Iterable[str] = ()
) -> UserSpec:
    """Fills and wakes its own feed and hears what it is asked; the rest is what it says and hears beside that."""
    stream = event_stream(name)
    return UserSpec(
        name=name,
        never=never,
        publish=(
            f"ev.{name}.>",
            f"wake.{name}",
            f"$JS.API.STREAM.INFO.{stream}",
            f"$JS.API.DIRECT.GET.{stream}",
            *publish,
        ),
        hear=(f"cmd.{name}.*", f"q.{name}.*", f"wake.{name}", *hear),
    )


def reads(*services: str) -> tuple[str, ...]:
    """What it takes to follow the events of others, or one's own, from a mark of one's own."""
    return tuple(
        subject
        for stream in map(event_stream, services)
        for subject in (
            f"$JS.API.STREAM.INFO.{stream}",
            f"$JS.API.DIRECT.GET.{stream}",
            f"$JS.API.CONSUMER.CREATE.{stream}.*",
            f"$JS.API.CONSUMER.DELETE.{stream}.*",
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
        )
    )


def asks(*services: str) -> tuple[str, ...]:
    """Every command and every question."""
    return tuple(f"{kind}.{service}.*" for service in services for kind in ("cmd", "q"))
