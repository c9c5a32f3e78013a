"""Streams and consumers as the topology says."""

from __future__ import annotations

from collections.abc import Iterable

from libs.bus.connection import Bus
from libs.bus.topology import ConsumerSpec, StreamSpec
from libs.feed import SinkGone


async def ensure_topology(bus: Bus, streams: Iterable[StreamSpec], consumers: Iterable[ConsumerSpec]) -> None:
    """Make what is missing and update what differs. Raises Refusing for a difference that needs a decision: the server
    refuses changes that would lose data."""
    for stream in streams:
        body = {**stream.config, "name": stream.name}
        try:
            await bus.api(f"STREAM.UPDATE.{stream.name}", body)
        except SinkGone:
            await bus.api(f"STREAM.CREATE.{stream.name}", body)
    for consumer in consumers:
        await bus.api(
            f"CONSUMER.CREATE.{consumer.stream}.{consumer.name}",
            {
                "stream_name": consumer.stream,
                "config": {**consumer.config, "durable_name": consumer.name, "name": consumer.name},
            },
        )
