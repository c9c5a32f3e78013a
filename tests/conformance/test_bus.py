"""The bus on a real server, also one that dies."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import nkeys
import pytest

from libs import bus as buses
from libs.bus import BusError, ConnectionLost, Stream, TimedOut, Unreachable, enqueue, follow
from libs.bus.pulling import Lost, Pull
from libs.eventstore.relay import Relay
from libs.feed import Outgoing, SinkGone, WrongSequence
from libs.message import new_id
from tests.conformance.conftest import Installation
from tests.support.events import opening, prioritised, submitted, write

STREAM = "EV_JOB"


def outgoing(number: int) -> Outgoing:
    stream = str(new_id())
    headers = {
        "Pos": f"7.{number}",
        "ce-type": "job.submitted",
        "ce-subject": stream,
        "ce-time": "2026-11-20T12:00:00+00:00",
        "ce-dataschema": "job.submitted.v1",
        "version": "1",
        "number": str(number),
    }
    return Outgoing(f"ev.job.job.submitted.{stream}", str(new_id()), headers, f"{number}".encode())


async def taken(batches, count: int) -> list:
    found = []
    async with asyncio.timeout(30):
        async for batch in batches:
            found += batch
            if len(found) >= count:
                return found
    raise AssertionError("a follower never ends")


async def test_who_asks_where_nobody_listens_is_told_at_once_and_not_after_the_timeout(installation):
    bus = await installation.bus("gateway")
    with pytest.raises(Unreachable):
        async with asyncio.timeout(30):
            await bus.ask("cmd.auth.log_in", b"{}", timeout=300)


async def test_what_a_header_says_arrives_as_it_is_and_a_line_break_makes_no_header_of_its_own(installation):
    gateway, auth = await installation.bus("gateway"), await installation.bus("auth")
    heard = {}

    async def hear(message) -> bytes:
        heard.update(message.headers)
        return b"{}"

    await auth.answer("cmd.auth.log_in", "auth", hear)
    sent = {"actor": "user:é: ü", "traceparent": "a\r\nforged: b", "deadline": "c\nforged: d", "command-id": "e\rf"}
    async with asyncio.timeout(30):
        await gateway.ask("cmd.auth.log_in", b"{}", sent)
        await gateway.ask("cmd.auth.log_in", b"{}", {"actor": "user:é: ü"})

    assert heard.keys() == sent.keys()
    assert heard["actor"] == "user:é: ü"


async def silent(auth) -> asyncio.Event:
    """Takes questions and answers none; set when it was asked."""
    asked = asyncio.Event()

    async def never(_) -> bytes:
        asked.set()
        await asyncio.Event().wait()
        return b""

    await auth.answer("cmd.auth.log_in", "auth", never)
    return asked


async def test_who_is_not_answered_in_time_is_told_that_the_outcome_is_unknown(installation):
    gateway, auth = await installation.bus("gateway"), await installation.bus("auth")
    asked = await silent(auth)
    with pytest.raises(TimedOut):
        await gateway.ask("cmd.auth.log_in", b"{}", timeout=0.5)
    async with asyncio.timeout(60):
        await asked.wait()


async def test_a_question_is_answered_by_one_of_a_queue(installation):
    gateway = await installation.bus("gateway")
    answered: list[str] = []
    for name in ("first", "second"):

        async def answer(message, name=name) -> bytes:
            answered.append(name)
            return message.body + name.encode()

        await (await installation.bus("auth")).answer("cmd.auth.log_in", "auth", answer)
    replies = [(await gateway.ask("cmd.auth.log_in", b"by ")).body.decode() for _ in range(40)]

    assert replies == [f"by {name}" for name in answered]
    assert set(answered) == {"first", "second"}


async def test_who_falls_quiet_answers_what_it_was_asked_and_others_are_asked_from_then_on(installation):
    gateway, leaving, staying = [await installation.bus(name) for name in ("gateway", "auth", "auth")]
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_) -> bytes:
        asked.set()
        await go_on.wait()
        return b"late"

    async def quick(_) -> bytes:
        return b"quick"

    await leaving.answer("cmd.auth.log_in", "auth", slow)
    late = asyncio.create_task(gateway.ask("cmd.auth.log_in", b"", timeout=60))
    async with asyncio.timeout(60):
        await asked.wait()
    await staying.answer("cmd.auth.log_in", "auth", quick)
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    await leaving.quiet()
    replies = [(await gateway.ask("cmd.auth.log_in", b"")).body for _ in range(40)]
    await leaving.close()

    assert replies == [b"quick"] * 40
    assert (await late).body == b"late"


@pytest.mark.parametrize("count", [1, 3, 400])
async def test_what_is_published_arrives_whole_in_order_and_with_its_headers(installation, count: int):
    job, gateway = await installation.bus("job"), await installation.bus("gateway")
    last = await Stream(job, STREAM).publish([outgoing(n) for n in range(count)], 0)
    async with follow(gateway, STREAM) as batches:
        found = await taken(batches, count)

    assert last == count
    assert [one.sequence for one in found] == list(range(1, count + 1))
    assert [(one.body, one.headers["number"]) for one in found] == [(str(n).encode(), str(n)) for n in range(count)]


@pytest.mark.parametrize("count", [1, 3, 400])
async def test_nothing_is_added_behind_a_wrong_end(installation, count: int):
    stream = Stream(await installation.bus("job"), STREAM)
    await stream.publish([outgoing(0)], 0)
    with pytest.raises(WrongSequence):
        await stream.publish([outgoing(n) for n in range(1, count + 1)], 7)

    assert await stream.last_sequence() == 1


@pytest.mark.parametrize("count", [1, 2, 3, 400])
async def test_nothing_is_added_by_who_has_missed_the_last_message(installation: Installation, count: int) -> None:
    stream = Stream(await installation.bus("job"), STREAM)
    await stream.publish([outgoing(0)], 0)
    with pytest.raises(WrongSequence):
        await stream.publish([outgoing(n) for n in range(1, count + 1)], 0)

    assert await stream.last_sequence() == 1


async def test_a_follower_begins_behind_the_sequence_it_names(installation):
    job, gateway = await installation.bus("job"), await installation.bus("gateway")
    await Stream(job, STREAM).publish([outgoing(n) for n in range(10)], 0)
    async with follow(gateway, STREAM, 7) as batches:
        assert [one.sequence for one in await taken(batches, 3)] == [8, 9, 10]


async def test_a_follower_of_some_types_gets_no_others(installation):
    store, job, gateway = await installation.store(), await installation.bus("job"), await installation.bus("gateway")
    relay = Relay(store, Stream(job, STREAM), url=installation.servers.database_urls["job"], wake=installation.wake)
    one = submitted()
    async with store.transaction() as tx:
        await tx.append([opening(), write(one.job_id, one, prioritised(one.job_id, 2)), opening()])
    relaying = asyncio.create_task(relay.run())
    try:
        async with follow(gateway, STREAM, only=["job.prioritised"]) as batches:
            found = await taken(batches, 1)
    finally:
        relaying.cancel()
        await asyncio.wait({relaying})

    assert [(one.event_type, one.sequence) for one in found] == [("job.prioritised", 3)]


async def test_a_follower_misses_and_repeats_nothing_when_the_server_is_killed(alone):
    job, gateway = await alone.bus("job"), await alone.bus("gateway")
    stream = Stream(job, STREAM)
    await stream.publish([outgoing(n) for n in range(50)], 0)
    async with follow(gateway, STREAM) as batches:
        first = await taken(batches, 50)
        await kill(alone, stream)
        await stream.publish([outgoing(n) for n in range(50, 100)], 50)
        second = await taken(batches, 50)

    assert [one.sequence for one in (*first, *second)] == list(range(1, 101))


async def test_a_pull_hears_of_a_new_connection_however_long_it_would_have_waited(alone):
    job, gateway = await alone.bus("job"), await alone.bus("gateway")
    pull = Pull(gateway, STREAM, "of-nobody")
    await pull.open()
    waiting = asyncio.create_task(pull.receive(3600))
    await kill(alone, Stream(job, STREAM))

    with pytest.raises(Lost):
        async with asyncio.timeout(30):
            await waiting


async def test_who_waits_for_an_answer_when_the_connection_is_lost_is_told_at_once(alone):
    gateway, auth = await alone.bus("gateway"), await alone.bus("auth")
    asked = await silent(auth)
    waiting = asyncio.create_task(gateway.ask("cmd.auth.log_in", b"{}", timeout=3600))
    async with asyncio.timeout(60):
        await asked.wait()
        os.kill(alone.servers.nats.child.pid, signal.SIGKILL)

        with pytest.raises(ConnectionLost):
            await waiting


async def kill(installation, stream) -> None:
    """The server; its supervisor starts it again, and the connections come back by themselves."""
    os.kill(installation.servers.nats.child.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        await installation.servers.restarted.wait()
        while True:
            try:
                await stream.last_sequence()
            except SinkGone:
                await asyncio.sleep(0.05)  # the pace of a client that asks until it is answered
            else:
                return


async def test_a_follower_goes_on_when_its_consumer_is_deleted_on_the_server(installation):
    job, gateway, cli = [await installation.bus(user) for user in ("job", "gateway", "topology")]
    stream = Stream(job, STREAM)
    await stream.publish([outgoing(n) for n in range(5)], 0)
    async with follow(gateway, STREAM) as batches:
        first = await taken(batches, 5)
        for name in (await cli.api(f"CONSUMER.NAMES.{STREAM}"))["consumers"]:
            await cli.api(f"CONSUMER.DELETE.{STREAM}.{name}")
        await stream.publish([outgoing(n) for n in range(5, 10)], 5)
        second = await taken(batches, 5)

    assert [one.sequence for one in (*first, *second)] == list(range(1, 11))


async def test_a_ticket_that_is_sent_twice_is_taken_once(installation):
    job = await installation.bus("job")
    for _ in range(2):
        await enqueue(job, "work.run.download.5", b"{}", "the same ticket")

    assert (await job.api("STREAM.INFO.WORK"))["state"]["messages"] == 1


async def test_nobody_comes_in_under_anothers_name(installation):
    servers = installation.servers
    with pytest.raises(Unreachable):
        await buses.open(servers.nats_url, user="job", seed=None, patience=1)


async def test_a_seed_that_the_server_does_not_know_opens_nothing(installation: Installation, tmp_path: Path) -> None:
    servers = installation.servers
    unknown = tmp_path / "unknown.seed"
    unknown.write_bytes(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))
    with pytest.raises(Unreachable):
        await buses.open(servers.nats_url, user="job", seed=unknown, patience=1)

    assert (await installation.bus("job")).connected


async def test_anothers_name_gives_nobody_its_rights(installation: Installation) -> None:
    servers = installation.servers
    bus = await buses.open(servers.nats_url, user="job", seed=servers.nats_seeds["storage"])
    try:
        with pytest.raises(BusError):
            await bus.ask("work.run.download.5", b"{}", timeout=0.2)
    finally:
        await bus.close()  # flushes: the server has seen the ticket, and what it did with it is done
    job = await installation.bus("job")

    assert (await job.api("STREAM.INFO.WORK"))["state"]["messages"] == 0
