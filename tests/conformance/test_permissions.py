"""Who may say and hear what on the bus, and who may look into which schema."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import asyncpg
import nats
import pytest
from nats.aio.client import Client

from libs.supervisor import DataFolder, Servers
from libs.supervisor.nats import Nats
from proto import REGISTRY, SERVICES
from proto.__main__ import SIGNALS
from proto.topology import CONSUMERS, STREAMS, USERS

MAY_PUBLISH = {
    "gateway": [
        "ev.gateway.x.y.z",
        "ctl.asked",
        "cmd.job.submit",
        "cmd.job.cancel",
        "cmd.auth.log_in",
        "q.job.history",
        "q.auth.verify_key",
        "cmd.storage.remove_target",
        "$JS.API.CONSUMER.CREATE.EV_JOB.f1",
        "$JS.API.CONSUMER.MSG.NEXT.EV_AUTH.f1",
        "$JS.API.STREAM.INFO.EV_STORAGE",
    ],
    "auth": ["ev.auth.user.user_created.1", "wake.auth", "$JS.API.DIRECT.GET.EV_AUTH"],
    "job": [
        "ev.job.job.submitted.1",
        "work.run.download.5",
        "progress.o.j",
        "ctl.job.j",
        "ctl.shares",
        "wake.job",
        "$JS.API.CONSUMER.CREATE.EV_AUTH.f1",
    ],
    "scheduler": ["ev.scheduler.schedule.fired.1", "cmd.job.submit", "wake.job", "$JS.API.CONSUMER.CREATE.EV_JOB.f1"],
    "unrestrict_proxy": [
        "ev.unrestrict_proxy.a.b.c",
        "cmd.job.submit",
        "q.storage.file",
        "q.storage.link",
        "ctl.link.j",
        "$JS.API.CONSUMER.CREATE.EV_JOB.f1",
    ],
    "storage": ["ev.storage.file.file_stored.1"],
    "notifier": ["ev.notifier.d.webhook_queued.1", "$JS.API.CONSUMER.CREATE.EV_JOB.f1"],
    "worker": [
        "cmd.job.claim",
        "cmd.job.report_progress",
        "cmd.job.heartbeat",
        "cmd.storage.store",
        "q.unrestrict_proxy.cookies",
        "q.job.archived",
        "$JS.API.CONSUMER.MSG.NEXT.WORK.download",
        "$JS.ACK.WORK.download.1.1.1.1.1",
    ],
    "cli": [
        "cmd.unrestrict_proxy.add_account",
        "cmd.unrestrict_proxy.check_account",
        "q.unrestrict_proxy.accounts",
        "cmd.auth.create_user",
        "cmd.job.submit",
        "cmd.job.lose_worker",
        "q.gateway.jobs",
        "$JS.API.CONSUMER.CREATE.EV_JOB.f1",
        "$JS.API.STREAM.INFO.WORK",
    ],
    "topology": ["$JS.API.STREAM.CREATE.X", "$JS.API.STREAM.UPDATE.X", "$JS.API.CONSUMER.CREATE.X.y"],
}
MAY_NOT_PUBLISH = {
    "gateway": [
        "cmd.job.claim",
        "cmd.job.report_completed",
        "cmd.job.lose_worker",
        "cmd.storage.redrive",
        "cmd.gateway.drop_dead_letter",
        "q.unrestrict_proxy.cookies",
        "work.run.download.5",
        "progress.o.j",
        "ctl.job.j",
        "$JS.ACK.WORK.download.1.1.1.1.1",
    ],
    "auth": ["cmd.job.submit", "q.job.history", "q.unrestrict_proxy.cookies", "$JS.API.STREAM.INFO.EV_JOB", "wake.job"],
    "job": [
        "cmd.storage.remove_target",
        "cmd.auth.create_user",
        "$JS.API.CONSUMER.CREATE.EV_STORAGE.f1",
        "$JS.API.STREAM.PURGE.WORK",
    ],
    "scheduler": ["cmd.job.cancel", "cmd.auth.create_user", "work.run.download.5"],
    "unrestrict_proxy": [
        "cmd.job.cancel",
        "cmd.storage.remove_target",
        "wake.job",
        "$JS.API.CONSUMER.CREATE.EV_AUTH.f1",
    ],
    "storage": ["cmd.job.submit", "progress.o.j", "$JS.API.CONSUMER.CREATE.EV_AUTH.f1"],
    "notifier": ["cmd.job.submit", "$JS.API.CONSUMER.CREATE.EV_AUTH.f1", "wake.job"],
    "worker": [
        "cmd.job.submit",
        "cmd.job.cancel",
        "cmd.job.lose_worker",
        "q.job.history",
        "cmd.storage.remove_target",
        "cmd.auth.create_user",
        "cmd.unrestrict_proxy.add_account",
        "q.unrestrict_proxy.accounts",
        "work.run.download.5",
        "progress.o.j",
        "ctl.job.j",
        "$JS.API.CONSUMER.CREATE.EV_JOB.f1",
        "$JS.API.STREAM.INFO.EV_JOB",
        "$JS.API.CONSUMER.CREATE.WORK.mine",
    ],
    "cli": [
        "cmd.job.claim",
        "cmd.job.report_completed",
        "q.unrestrict_proxy.cookies",
        "work.run.download.5",
        "$JS.API.STREAM.UPDATE.EV_JOB",
        "$JS.API.STREAM.PURGE.EV_JOB",
    ],
    "topology": ["cmd.auth.create_user", "q.auth.verify_key", "work.run.download.5", "progress.o.j"],
}
MAY_HEAR = {
    **{
        service: [f"cmd.{service}.*", f"q.{service}.*", f"wake.{service}", f"_INBOX_{service}.a"]
        for service in SERVICES
    },
    "gateway": ["cmd.gateway.*", "q.gateway.*", "wake.gateway", "ctl.asked", "_INBOX_gateway.a"],
    "job": ["cmd.job.*", "q.job.*", "wake.job", "ctl.shares", "_INBOX_job.a"],
    "worker": ["ctl.job.*", "ctl.link.*", "ctl.shares", "_INBOX_worker.a"],
    "cli": ["progress.*.*", "_INBOX_cli.a"],
    "topology": ["_INBOX_topology.a"],
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[Nats, DataFolder]]:
    folder = DataFolder(tmp_path / "data")
    with folder.lock():
        one = Nats(folder, USERS)
        one.prepare()
        await one.start()
        try:
            yield one, folder
        finally:
            await one.stop()


@asynccontextmanager
async def connected(server: tuple[Nats, DataFolder], user: str) -> AsyncIterator[tuple[Client, list[str]]]:
    """A connection and the refusals it was told of."""
    refusals: list[str] = []

    async def told(error: Exception) -> None:
        refusals.append(str(error))

    client = await nats.connect(
        server[0].url,
        nkeys_seed=str(server[1].seed(user)),
        inbox_prefix=f"_INBOX_{user}",
        error_cb=told,
        allow_reconnect=False,
    )
    try:
        yield client, refusals
    finally:
        await client.close()


async def published(client: Client, refusals: list[str], subject: str) -> bool:
    refusals.clear()
    await client.publish(subject, b"{}")
    await _settled(client)
    return not refusals


async def _settled(client: Client) -> None:
    """Every refusal has come. Twice, because the client sends the first ping ahead of what it still buffers."""
    await client.flush()
    await client.flush()


async def heard(client: Client, refusals: list[str], subject: str) -> bool:
    refusals.clear()
    subscription = await client.subscribe(subject)
    await _settled(client)
    if not refusals:
        await subscription.unsubscribe()
    return not refusals


@pytest.mark.parametrize("user", [one.name for one in USERS])
async def test_a_user_says_what_it_must_and_nothing_else(server, user):
    """Each user publishes its own subjects and is refused on those of others."""
    foreign = [f"ev.{service}.kind.type.id" for service in SERVICES if service != user]
    others = [f"_INBOX_{one.name}.stolen" for one in USERS if one.name != user]
    creating = (
        []
        if user == "topology"
        else ["$JS.API.STREAM.CREATE.X", "$JS.API.STREAM.DELETE.EV_JOB", "$JS.API.CONSUMER.DURABLE.CREATE.WORK.mine"]
    )
    async with connected(server, user) as (client, refusals):
        allowed = {subject: await published(client, refusals, subject) for subject in MAY_PUBLISH[user]}
        denied = {
            subject: await published(client, refusals, subject)
            for subject in [*MAY_NOT_PUBLISH[user], *foreign, *others, *creating]
        }

    assert [subject for subject, ok in allowed.items() if not ok] == []
    assert [subject for subject, ok in denied.items() if ok] == []


@pytest.mark.parametrize("user", [one.name for one in USERS])
async def test_a_user_hears_what_is_meant_for_it_and_nothing_else(server, user):
    """No user hears another's commands or replies, the events of anybody, or everything."""
    foreign = [
        subject
        for other in MAY_HEAR
        if other != user
        for subject in MAY_HEAR[other]
        if subject not in MAY_HEAR[user] and (subject != "progress.*.*" or user not in ("gateway", "cli"))
    ]
    async with connected(server, user) as (client, refusals):
        allowed = {subject: await heard(client, refusals, subject) for subject in MAY_HEAR[user]}
        denied = {
            subject: await heard(client, refusals, subject)
            for subject in [*foreign, ">", "ev.>", "work.run.>", "$JS.>", "_INBOX.>", "cmd.>"]
        }

    assert [subject for subject, ok in allowed.items() if not ok] == []
    assert [subject for subject, ok in denied.items() if ok] == []


async def test_an_answer_reaches_the_asker_once(server):
    """A service may answer what it was asked, without any right on the asker's inbox, and only once."""
    async with connected(server, "job") as (job, refusals), connected(server, "gateway") as (gateway, _):

        async def answer(message):
            await job.publish(message.reply, b"first")
            await job.publish(message.reply, b"second")

        await job.subscribe("cmd.job.submit", queue="job", cb=answer)
        await _settled(job)
        reply = await gateway.request("cmd.job.submit", b"{}", timeout=5)
        await _settled(job)

        assert reply.data == b"first"
        assert len(refusals) == 1


async def test_without_a_key_nobody_connects(server):
    """A client that shows no key is told so and cut off."""
    reader, writer = await asyncio.open_connection(*server[0].url.removeprefix("nats://").split(":"))
    async with asyncio.timeout(60):
        greeting = await reader.readline()
        writer.write(b'CONNECT {"verbose":false,"pedantic":false}\r\nPING\r\n')
        rest = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert greeting.startswith(b"INFO ")
    assert b"Authorization Violation" in rest
    assert b"PONG" not in rest


def test_the_topology_names_services_and_messages_that_exist():
    """Each service has a user and a stream, and each command that a user may send by name is one of the language."""
    known = {f"cmd.{tag}" for tag in REGISTRY.commands} | {f"q.{tag}" for tag in REGISTRY.queries}
    named = {
        subject
        for user in USERS
        for subject in user.publish
        if subject.split(".")[0] in ("cmd", "q") and "*" not in subject
    }

    assert {user.name for user in USERS} == {*SERVICES, "worker", "cli", "topology"}
    assert {f"EV_{service.upper()}" for service in SERVICES} <= {stream.name for stream in STREAMS}
    assert {consumer.stream for consumer in CONSUMERS} <= {stream.name for stream in STREAMS}
    assert named - known == set()


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.address)
def test_a_signals_sender_may_say_it_and_its_takers_may_hear_it(signal):
    """What the language says of a signal is what the topology allows; work is taken from its stream, not heard."""
    users = {user.name: user for user in USERS}
    subject = re.sub(r"{\w+}", "*", signal.address)
    streamed = any(subject in cast("list[str]", stream.config["subjects"]) for stream in STREAMS)

    assert subject in users[signal.sender].publish
    assert [taker for taker in signal.takers if not streamed and subject not in users[taker].hear] == []


async def test_a_role_owns_its_schema_and_is_refused_on_every_other(tmp_path):
    """Permission denied on foreign tables, foreign schemas, the public schema and other databases."""
    folder = DataFolder(tmp_path / "data")
    with folder.lock():
        async with Servers.run(folder, SERVICES, USERS) as servers:
            roles = {service: await asyncpg.connect(servers.database_urls[service]) for service in SERVICES}
            for service, conn in roles.items():
                await conn.execute(
                    f"create table {service}.secret (text text); insert into {service}.secret values ('{service}')"
                )
                assert await conn.fetchval(f"select text from {service}.secret") == service
            for service, conn in roles.items():
                for other in (one for one in SERVICES if one != service):
                    for statement in (
                        f"select * from {other}.secret",
                        f"insert into {other}.secret values ('x')",
                        f"create table {other}.mine (n int)",
                        f"drop table {other}.secret",
                        f"set role longshore_{other}",
                    ):
                        with pytest.raises(asyncpg.InsufficientPrivilegeError):
                            await conn.execute(statement)
                for statement in (
                    "create table public.mine (n int)",
                    "create schema mine",
                    "create role mine",
                    "create temporary table mine (n int)",
                    "select pg_read_file('/etc/passwd')",
                    "select * from pg_authid",
                    "alter system set fsync = off",
                ):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await conn.execute(statement)
            await asyncio.gather(*(conn.close() for conn in roles.values()))
            for database in ("postgres", "template1"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await asyncpg.connect(servers.database_urls["job"], database=database)


async def test_a_role_needs_its_own_password(tmp_path):
    """One service's password opens no other role, and no role is open without one."""
    folder = DataFolder(tmp_path / "data")
    with folder.lock():
        async with Servers.run(folder, ("job", "auth"), USERS) as servers:
            for user, password in (("longshore_auth", None), ("postgres", None), ("longshore_auth", "wrong")):
                given = {} if password is None else {"password": password}
                with pytest.raises(asyncpg.InvalidPasswordError):
                    await asyncpg.connect(servers.database_urls["job"], user=user, **given)


def test_seeds_are_closed_and_stay_out_of_the_configuration(tmp_path):
    """Each seed is readable by its owner alone, and the configuration has public keys only."""
    folder = DataFolder(tmp_path / "data")
    with folder.lock():
        Nats(folder, USERS).prepare()
        seeds = [folder.seed(user.name) for user in USERS]
        rendered = (folder.nats / "nats.conf").read_text()

    assert {seed.stat().st_mode & 0o777 for seed in seeds} == {0o600}
    assert not any(seed.read_text().strip() in rendered for seed in seeds)
