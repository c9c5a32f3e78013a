"""Events to the sockets that may see them, when what they tell can be read. They come from the follower of the read
model: one subscription a process, an index by owner, a bounded buffer a socket."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog
from prometheus_client import Gauge

from libs.bus import Bus, BusError, Message, Stream, follow
from libs.database import AWAY
from libs.eventstore.projection import Applied, Follower
from libs.feed import Delivered, SinkGone
from libs.message import Event, Registry
from proto.job import JobSubmitted, Progress
from services.gateway import domain
from services.gateway.domain import JobView
from services.gateway.views import Jobs

log = structlog.get_logger()

STREAM = "EV_JOB"
BUFFER = 512
"""Events a slow socket may be behind before it is told to fetch anew."""
PROGRESS_SECONDS = 1.0
REPLAY_MOST = 20_000
"""Events a returning socket may have missed; beyond it fetching anew is cheaper than replaying."""
REPLAY_SECONDS = 10.0
VIEWS_KEPT = 4096

SOCKETS = Gauge("longshore_sockets", "Connected WebSocket clients")

Frame = tuple[str, dict[str, Any]]
EventFrames = Callable[[Event, JobView], list[Frame]]
ProgressFrame = Callable[[Progress, JobView], Frame]

_progress = msgspec.json.Decoder(Progress).decode


class Subscriber:
    """One socket's inbox. `take` is its writer's; everything else is the hub's."""

    def __init__(self, sees: UUID | None) -> None:
        self.sees = sees
        self.ended = False
        self.live_from = 0
        self._events: deque[bytes] = deque()
        self._progress: dict[UUID, tuple[float, bytes]] = {}
        self._due: dict[UUID, float] = {}
        self._wake = asyncio.Event()
        self._overflowed = False

    def event(self, frame: bytes) -> None:
        if len(self._events) >= BUFFER:
            self.lost()
        self._events.append(frame)
        self._wake.set()

    def missed(self, frames: Sequence[bytes]) -> None:
        """What came before all that waits here."""
        self._events.extendleft(reversed(frames))
        self._wake.set()

    def lost(self) -> None:
        """What it was to be told is gone: it is told to fetch anew instead."""
        self._events.clear()
        self._overflowed = True
        self._wake.set()

    def progress(self, job_id: UUID, frame: bytes) -> None:
        """The latest wins, and each job is shown once a second at most."""
        loop = asyncio.get_running_loop()
        due = self._due.get(job_id, 0.0)
        self._progress[job_id] = (due, frame)
        if due <= loop.time():
            self._wake.set()
        else:
            loop.call_at(due, self._wake.set)

    def forget(self, job_id: UUID) -> None:
        """No progress is shown after the end."""
        self._progress.pop(job_id, None)
        self._due.pop(job_id, None)

    def end(self) -> None:
        self.ended = True
        self._wake.set()

    async def take(self) -> list[bytes]:
        """Frames to write now; empty when the socket must close."""
        while not self.ended:
            frames: list[bytes] = []
            if self._overflowed:
                self._overflowed = False
                frames.append(encode("reset", {"reason": "events were dropped"}, ""))
            while self._events:
                frames.append(self._events.popleft())
            now = asyncio.get_running_loop().time()
            for job_id in [job_id for job_id, (due, _) in self._progress.items() if due <= now]:
                frames.append(self._progress.pop(job_id)[1])
                self._due[job_id] = now + PROGRESS_SECONDS
            if frames:
                return frames
            self._wake.clear()
            await self._wake.wait()
        return []


def encode(kind: str, data: dict[str, Any], token: str) -> bytes:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body: dict[str, Any] = {"type": kind, "timestamp": at, "data": data}
    if token:
        body["token"] = token
    return msgspec.json.encode(body)


class Hub:
    def __init__(
        self, bus: Bus, follower: Follower, jobs: Jobs, registry: Registry, frames: EventFrames, progress: ProgressFrame
    ) -> None:
        self._bus = bus
        self._follower = follower
        self._jobs = jobs
        self._registry = registry
        self._frames = frames
        self._progress_frame = progress
        self._by_owner: dict[UUID | None, set[Subscriber]] = {}
        self._views: dict[UUID, JobView] = {}
        self._news: asyncio.Queue[Sequence[Applied]] = asyncio.Queue()
        self._behind = 0
        """Events of `_news`, and of the batch that is being spread."""
        self._passed_over = 0
        """How often what was to be spread was given up; what is behind that says no more how far it came."""
        self._epoch = ""
        self._sequence = 0

    def committed(self, events: Sequence[Applied]) -> None:
        """For the follower to call. What can not be told in time is not kept: a view that is built anew while somebody
        watches would bring the whole history into memory. Who watches is told to fetch anew."""
        if self._by_owner and self._behind + len(events) <= REPLAY_MOST:
            self._sequence = self._sequence or events[0].at.sequence - 1
            self._news.put_nowait(events)
            self._behind += len(events)
            return
        while not self._news.empty():
            self._behind -= len(self._news.get_nowait())
        for watchers in self._by_owner.values():
            for one in watchers:
                one.lost()
        self._views.clear()
        self._passed_over += 1
        self._sequence = events[-1].at.sequence

    async def run(self) -> None:
        """Spreads what is committed, until cancelled."""
        self._epoch = await self._history()
        while True:
            batch, passed_over = await self._news.get(), self._passed_over
            for one in batch:
                try:
                    await self._spread(one.event, one.at)
                except AWAY as error:
                    await log.awarning("fanout.missed", reason=type(error).__name__)
                    for watcher in self._watchers(getattr(one.event, "owner", None)):
                        watcher.lost()
                self._behind -= 1
                if passed_over == self._passed_over:
                    self._sequence = one.at.sequence

    async def _history(self) -> str:
        """What tells tokens of this history from those of another installation."""
        while True:
            try:
                return await Stream(self._bus, STREAM).epoch()
            except (BusError, SinkGone) as error:
                await log.awarning("fanout.waits", reason=str(error))
                await asyncio.sleep(0.2)  # back-off while the stream is away

    async def heard(self, message: Message) -> None:
        """A progress signal, `progress.<owner>.<job>`."""
        owner = UUID(message.subject.split(".")[1])
        watchers = self._watchers(owner)
        if not watchers:
            return
        signal = _progress(message.body)
        view = self._views.get(signal.job_id) or await self._load(signal.job_id)
        if view is None or view.finished_at is not None:
            return
        frame = encode(*self._progress_frame(signal, view), "")
        for one in watchers:
            one.progress(signal.job_id, frame)

    @asynccontextmanager
    async def subscribed(self, sees: UUID | None, since: str | None) -> AsyncIterator[Subscriber]:
        """`sees` is whose jobs, None for everybody's. With the token of an earlier frame, `since`, everything that was
        missed comes first; a token that is too old or of another history gets a `reset`, after which the client fetches
        anew. So it does when what was missed can not be read now."""
        one = Subscriber(sees)
        here = one.live_from = (
            self._sequence if not self._news.empty() else max(self._sequence, self._follower.sequence)
        )
        self._by_owner.setdefault(sees, set()).add(one)
        SOCKETS.inc()
        try:
            if since is not None:
                await self._catch_up(one, since, here)
            yield one
        finally:
            self._unsubscribe(one)

    def _unsubscribe(self, one: Subscriber) -> None:
        watchers = self._by_owner[one.sees]
        watchers.discard(one)
        SOCKETS.dec()
        if not watchers:
            del self._by_owner[one.sees]

    async def _catch_up(self, one: Subscriber, since: str, here: int) -> None:
        epoch, _, text = since.rpartition("~")
        after = int(text) if text.isdecimal() else -1
        if epoch != self._epoch or after < 0 or after > here or here - after > REPLAY_MOST:
            one.event(encode("reset", {"reason": "unknown token"}, self._token(here)))
        elif after < here:
            try:
                await self._replay(one, after)
            except AWAY as error:
                await log.awarning("fanout.not_replayed", reason=type(error).__name__)
                one.lost()

    async def _replay(self, one: Subscriber, after: int) -> None:
        """Live events gather behind while history is read; both lie on one line of sequences, so none comes twice."""
        missed: list[bytes] = []
        async with asyncio.timeout(REPLAY_SECONDS), follow(self._bus, STREAM, after) as batches:
            async for batch in batches:
                for event in batch:
                    if event.sequence <= one.live_from:
                        missed += await self._encoded(event, one.sees)
                if batch[-1].sequence >= one.live_from:
                    break
        one.missed(missed)

    async def _encoded(self, delivered: Delivered, sees: UUID | None) -> list[bytes]:
        if delivered.event_type not in domain.WANTED:
            return []
        event = self._registry.event(delivered.event_type, delivered.schema_version, delivered.body)
        if sees is not None and getattr(event, "owner", None) != sees:
            return []
        view = await self._jobs.one(delivered.stream_id, None)
        if view is None:
            return []
        return [encode(kind, data, self._token(delivered.sequence)) for kind, data in self._frames(event, view)]

    async def _spread(self, event: Event, at: Delivered) -> None:
        watchers = self._watchers(getattr(event, "owner", None))
        if not watchers:
            self._views.pop(at.stream_id, None)
            return
        view = self._views.get(at.stream_id)
        if isinstance(event, JobSubmitted):
            view = domain.opened(event)
        elif view is not None:
            view = domain.evolve(view, event)
        else:
            view = await self._load(at.stream_id)
        if view is None:
            return
        self._keep(view)
        frames = [encode(kind, data, self._token(at.sequence)) for kind, data in self._frames(event, view)]
        for one in watchers:
            if view.finished_at is not None:
                one.forget(view.job_id)
            if at.sequence > one.live_from:
                for frame in frames:
                    one.event(frame)

    def _watchers(self, owner: UUID | None) -> list[Subscriber]:
        return [*self._by_owner.get(owner, ()), *(self._by_owner.get(None, ()) if owner is not None else ())]

    async def _load(self, job_id: UUID) -> JobView | None:
        view = await self._jobs.one(job_id, None)
        if view is not None:
            self._keep(view)
        return view

    def _keep(self, view: JobView) -> None:
        self._views.pop(view.job_id, None)
        self._views[view.job_id] = view
        while len(self._views) > VIEWS_KEPT:
            self._views.pop(next(iter(self._views)))

    def _token(self, sequence: int) -> str:
        return f"{self._epoch}~{sequence}"
