"""What sockets are told when something is away, or ended while they were opened."""

from __future__ import annotations

import asyncio
from typing import cast
from uuid import UUID

import msgspec
import pytest
from prometheus_client import REGISTRY as METRICS

from libs.bus import Bus, Stream
from libs.calls import Caller
from libs.eventstore.projection import Applied, Follower
from libs.feed import Delivered, Outgoing, event_subject
from libs.message import Event, Position, new_id, tag
from proto import REGISTRY
from proto.auth import SessionEnded
from services.gateway import domain, views
from services.gateway.dialects.webgui import translate
from services.gateway.fanout import REPLAY_MOST, STREAM, Hub
from services.gateway.guard import Guard
from services.gateway.views import Jobs
from tests.support.events import AT, submitted

PATIENCE = 60.0


def outgoing(event: Event, stream_id: UUID, number: int) -> Outgoing:
    kind = tag(event)
    headers = {
        "Pos": f"1.{number}",
        "ce-type": kind,
        "ce-subject": str(stream_id),
        "ce-time": AT.isoformat(),
        "ce-dataschema": f"{kind}.v1",
        "version": "1",
    }
    body = msgspec.json.encode(event)
    return Outgoing(event_subject(kind, "any", str(stream_id)), str(new_id()), headers, body)


def applied(event: Event, stream_id: UUID, sequence: int) -> Applied:
    return Applied(
        event,
        Delivered(
            sequence=sequence,
            position=Position(1, sequence),
            event_type=tag(event),
            schema_version=1,
            stream_id=stream_id,
            version=1,
            recorded_at=AT,
            headers={},
            body=b"",
        ),
    )


@pytest.fixture
async def hub(installation) -> tuple[Hub, Bus]:
    """Nobody follows for it, and the database that it reads jobs from is away."""
    pool, bus = await installation.pool("gateway"), await installation.bus("gateway")

    def source(_: int):
        raise NotImplementedError

    follower = Follower("gateway.jobs", pool, "gateway", source, REGISTRY, domain.WANTED, views.apply)
    hub = Hub(bus, follower, Jobs(pool), REGISTRY, translate.frames, translate.progress)
    await pool.close()
    return hub, bus


def sockets() -> float:
    return METRICS.get_sample_value("longshore_sockets") or 0.0


async def test_a_socket_that_can_not_be_told_what_it_missed_fetches_anew(installation, hub):
    """It stays open, and is not counted for ever when it goes."""
    hub, _ = hub
    event = submitted()
    writer = Stream(await installation.bus("job"), STREAM)
    sequence = await writer.publish([outgoing(event, event.job_id, 1)], await writer.last_sequence())
    hub.committed([applied(event, event.job_id, sequence)])
    before = sockets()

    async with asyncio.timeout(PATIENCE), hub.subscribed(event.owner, f"~{sequence - 1}") as subscriber:
        frames = [msgspec.json.decode(one)["type"] for one in await subscriber.take()]
        during = sockets()

    assert frames == ["reset"]
    assert (during, sockets()) == (before + 1, before)


async def test_a_socket_that_goes_while_it_is_told_what_it_missed_is_forgotten(hub):
    hub, _ = hub
    event = submitted()
    hub.committed([applied(event, event.job_id, 1_000_000)])
    before = sockets()

    async def watch() -> None:
        async with hub.subscribed(event.owner, "~999999"):
            raise AssertionError("what was missed never comes")

    watching = asyncio.create_task(watch())
    async with asyncio.timeout(PATIENCE):
        while sockets() == before:
            await asyncio.sleep(0.01)  # until it reads what it missed
    watching.cancel()
    await asyncio.wait({watching})

    assert watching.cancelled()
    assert sockets() == before


async def test_more_than_can_be_told_in_time_is_not_kept_and_its_watcher_fetches_anew(hub):
    """As when the view is built anew from a long history."""
    hub, _ = hub
    old, new = submitted(), submitted(url="https://files.test/new.bin")
    batch = [applied(old, old.job_id, 1)] * 500
    async with hub.subscribed(None, None) as subscriber:
        for _ in range(REPLAY_MOST // len(batch) + 1):
            hub.committed(batch)
        hub.committed([applied(new, new.job_id, 2)])
        running = asyncio.create_task(hub.run())
        frames: list[bytes] = []
        async with asyncio.timeout(PATIENCE):
            while not any(new.url in one.decode() for one in frames):
                frames += await subscriber.take()
        running.cancel()

    assert [msgspec.json.decode(one)["type"] for one in frames] == ["reset", "queue_updated"]


async def test_a_session_that_ended_before_the_gateway_was_there_is_known_to_it(installation):
    """Or a token that was taken back would be good again at each replica that starts."""
    bus, writer = await installation.bus("gateway"), Stream(await installation.bus("auth"), "EV_AUTH")
    event = SessionEnded(user_id=new_id(), session_id=new_id(), reason="logged_out", at=AT)
    await writer.publish([outgoing(event, event.user_id, 1)], 0)
    guard, told = Guard(cast("Caller", None), bus), asyncio.Event()
    following = asyncio.create_task(guard.follow())
    with guard.watching(event.session_id, told.set):
        async with asyncio.timeout(PATIENCE):
            await told.wait()
    following.cancel()


async def test_a_session_that_ended_while_its_socket_was_opened_ends_the_socket_at_once(installation):
    bus, writer = await installation.bus("gateway"), Stream(await installation.bus("auth"), "EV_AUTH")
    guard = Guard(cast("Caller", None), bus)
    following = asyncio.create_task(guard.follow())
    ended, listens, heard, told = new_id(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def end(session_id: UUID) -> None:
        last = await writer.last_sequence()
        event = SessionEnded(user_id=new_id(), session_id=session_id, reason="logged_out", at=AT)
        await writer.publish([outgoing(event, event.user_id, last + 1)], last)

    first, last = new_id(), new_id()
    async with asyncio.timeout(PATIENCE):
        with guard.watching(first, listens.set), guard.watching(last, heard.set):
            while not listens.is_set():  # what was said before it listened is not for it
                await end(first)
                await asyncio.sleep(0.05)
            await end(ended)
            await end(last)
            await heard.wait()
    with guard.watching(ended, told.set):
        at_once = told.is_set()
    following.cancel()

    assert at_once
