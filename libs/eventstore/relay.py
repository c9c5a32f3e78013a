"""Publishes a store's feed to its stream: in order, exactly once, by one process at a time.

The relay keeps no cursor of its own. It reads the last message of the sink and goes on behind it, so a tail that the
sink lost is sent again by itself, and a relay that was thought dead is refused by the sequence it expects.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
import msgspec
from prometheus_client import Counter, Gauge

from libs.database import AWAY, PLANNED_ONCE, Connection, server_settings
from libs.eventstore.postgres import EventStore
from libs.feed import Outgoing, Sink, SinkGone, WrongSequence, event_subject
from libs.lasting import lasting
from libs.message import ORIGIN, Meta, Position
from libs.waking import pass_on

BATCH = 500
"""Events in one atomic batch; the server takes up to a thousand."""
POLL_SECONDS = 1.0
"""How long an event can wait for a relay that was not woken: who committed it died, or the bus lost what it said."""
ELECTION_SECONDS = 0.25
"""Others' events wait so long when a leader is gone. Clients read what they wrote, and do not wait much longer."""
HIDDEN_PAUSE = 0.001

PUBLISHED = Counter("longshore_relay_events_total", "Events published", ["service"])
LAG = Gauge("longshore_relay_lag_seconds", "Time since the feed was last empty", ["service"])
BARRIER = Gauge(
    "longshore_relay_barrier_age_seconds", "Age of the oldest event behind an open transaction", ["service"]
)

_decode_meta = msgspec.json.Decoder(Meta).decode


async def _nobody() -> None:
    """Hears of a commit before a poll finds it."""


class Relay:
    """`wake` is set after every commit of this process. While another leads, `tell` is called for it, and that one's
    `woken` is to follow."""

    def __init__(
        self,
        store: EventStore,
        sink: Sink,
        *,
        url: str,
        wake: asyncio.Event,
        tell: Callable[[], Awaitable[None]] = _nobody,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._store = store
        self._sink = sink
        self._url = url
        self._wake = wake
        self._tell = tell
        self._poll = poll_seconds
        self._drained_at = time.monotonic()
        self._beside = False
        """Whether another process leads."""

    @property
    def lag_seconds(self) -> float:
        """Since the stream was last known to be the whole feed. Zero while another process leads, for that one answers;
        who can not lead because something is away does."""
        return 0.0 if self._beside else time.monotonic() - self._drained_at

    def woken(self) -> None:
        """Another process has committed. Who does not lead ignores it, or they would wake each other for ever."""
        if not self._beside:
            self._wake.set()

    async def run(self) -> None:
        """Leads when it can, for ever; the loss of Postgres or of the stream only pauses it."""
        LAG.labels(self._store.schema).set_function(lambda: self.lag_seconds)
        passing = (*AWAY, WrongSequence, SinkGone)
        await lasting("relay.interrupted", self._elected, passing, service=self._store.schema)

    async def _elected(self) -> None:
        """Leadership is a lock of this connection's session: it can not outlive the connection it reads with."""
        conn = await asyncpg.connect(
            self._url,
            timeout=10,
            command_timeout=30,
            server_settings={**server_settings(self._store.schema), **PLANNED_ONCE},
        )
        try:
            while not await conn.fetchval("select pg_try_advisory_lock(hashtext($1))", f"relay {self._store.schema}"):
                self._beside = True
                await pass_on(self._wake, self._tell, ELECTION_SECONDS)
            if self._beside:
                self._drained_at, self._beside = time.monotonic(), False
            await self._lead(conn)
        finally:
            conn.terminate()

    async def _lead(self, conn: Connection) -> None:
        tail = await self._sink.last()
        sequence, cursor = (tail.sequence, tail.position) if tail else (0, ORIGIN)
        while True:
            self._wake.clear()
            rows, hidden = await self._store.ahead(cursor, BATCH, conn)
            if rows:
                sequence = await self._sink.publish(self._outgoing(rows), sequence)
                cursor = Position(int(rows[-1]["txid"]), rows[-1]["position"])
                PUBLISHED.labels(self._store.schema).inc(len(rows))
                if len(rows) == BATCH:
                    continue
            BARRIER.labels(self._store.schema).set(hidden or 0.0)
            if hidden is not None:
                # Committed or about to be, yet an older transaction is open: it will be readable in a moment.
                await asyncio.sleep(min(max(HIDDEN_PAUSE, hidden / 4), 0.05))
                continue
            self._drained_at = time.monotonic()
            try:
                async with asyncio.timeout(self._poll):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _outgoing(self, rows: Sequence[asyncpg.Record]) -> list[Outgoing]:
        schema = self._store.schema
        batch = []
        for row in rows:
            event_id, stream_id, kind = str(row["event_id"]), str(row["stream_id"]), row["type"]
            meta = _decode_meta(row["meta"])
            headers = {
                "Pos": f"{row['txid']}.{row['position']}",
                "ce-id": event_id,
                "ce-type": kind,
                "ce-source": schema,
                "ce-subject": stream_id,
                "ce-time": row["recorded_at"].isoformat(),
                "ce-dataschema": f"{kind}.v{row['schema_version']}",
                "version": str(row["version"]),
                "correlation-id": str(meta.correlation),
                "actor": meta.actor,
                "traceparent": meta.traceparent,
            }
            if meta.causation is not None:
                headers["causation-id"] = str(meta.causation)
            batch.append(Outgoing(event_subject(kind, row["kind"], stream_id), event_id, headers, row["data"]))
        return batch
