"""Postgres for one service: its pool, its role's limits, and the migrations of its schema."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import msgspec
from msgspec import Struct

from libs.message import repr_without

Connection: TypeAlias = Any
"""An asyncpg connection or its pool's proxy: asyncpg publishes no type for "either"."""

AWAY: tuple[type[Exception], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""What a statement may raise when the server goes away under it. The driver's own confusion is among them: that is how
it meets a connection which is cut while a statement goes out."""

POOL_LIMIT = 5
"""Connections per service; seven services, their relays and a migration stay below the server's sixty."""
IDLE_SECONDS = 30
OPEN_TRANSACTION_LIMIT = "10s"
"""One writer left open anywhere in the cluster holds every feed back; the server ends it after this."""

PLANNED_ONCE = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
"""For a connection that says the same few statements over and over. The server would plan those that take arrays anew
each time, which costs as much as a third of carrying them out; made for good, a plan must not be one that reads a whole
table because the table was small."""

_ALEMBIC = threading.Lock()
"""Alembic's `op` is one per process: migrations of several schemas take turns."""

_NUMBERED = re.compile(r"^(\d{4})_\w+\.py$")


async def open_pool(
    url: str, service: str, limit: int = POOL_LIMIT, *, kept: int = 1, durable: bool = True, planned_once: bool = False
) -> asyncpg.Pool:
    """Connects now, so that a wrong URL fails here, with NoDatabase. More than `kept` connections are given back after
    30 s without use: each costs the server three to seven megabytes.

    What is written without `durable` may be lost with the machine's power, never torn: for read models, whose mark is
    lost with them. See PLANNED_ONCE.
    """
    with _named(url):
        pool = await asyncpg.create_pool(
            url,
            min_size=kept,
            max_size=limit,
            max_inactive_connection_lifetime=IDLE_SECONDS,
            command_timeout=30,
            reset=_as_it_is,
            server_settings={
                **server_settings(service),
                "synchronous_commit": "on" if durable else "off",
                **(PLANNED_ONCE if planned_once else {}),
            },
        )
        async with pool.acquire():
            return pool


class NoDatabase(Exception):
    """The database does not answer, or not to us; the message says which."""


@contextmanager
def _named(url: str) -> Iterator[None]:
    """Raises NoDatabase, without the password that the URL may have."""
    try:
        yield
    except AWAY as error:
        where = urlsplit(url)
        name = where.hostname or dict(parse_qsl(where.query)).get("host", "")
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NoDatabase(f"Postgres at {name} can not be used: {reason}. See LONGSHORE_DATABASE_URL.") from error


async def _as_it_is(_: Connection) -> None:
    """Nobody changes a session's state without changing it back, so a release need not cost a round trip."""


def server_settings(service: str) -> dict[str, str]:
    return {
        "application_name": f"longshore-{service}",
        "search_path": service,
        "jit": "off",
        "timezone": "UTC",
        "idle_in_transaction_session_timeout": OPEN_TRANSACTION_LIMIT,
    }


def newest(location: Path) -> str:
    """The last migration by its number; files are `NNNN_what.py`, forward only."""
    numbers = sorted(match[1] for path in location.iterdir() if (match := _NUMBERED.match(path.name)))
    if not numbers:
        raise FileNotFoundError(f"no migrations in {location}")
    return numbers[-1]


class Target(Struct, frozen=True):
    """A schema and where its migrations lie."""

    url: str
    service: str
    location: Path

    def __repr__(self) -> str:
        return repr_without(self, "url")


async def migrate(target: Target) -> bool:
    """Bring the service's schema up to date; False when it was. The look is cheap: alembic is imported only to work."""
    if await _is_current(target):
        return False
    await asyncio.to_thread(_upgrade, target.url, target.service, target.location)
    return True


async def migrate_aside(targets: Sequence[Target]) -> None:
    """As `migrate`, in a process of its own: alembic's thirty megabytes would stay in this one. Raises
    MigrationFailed."""
    late = [target for target in targets if not await _is_current(target)]
    if not late:
        return
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "libs.database",
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    # By pipe: a command line or an environment would show the passwords.
    _, errors = await child.communicate(msgspec.json.encode(late, enc_hook=str))
    if child.returncode:
        raise MigrationFailed(errors.decode(errors="replace")[-2000:])


class MigrationFailed(Exception):
    """A schema could not be brought up to date; nothing of its last step was kept."""


class OldSchema(Exception):
    """A schema that migrations are missing from; the message says what to do."""


async def refuse_old(target: Target) -> None:
    """Raises OldSchema, NoDatabase. A newer schema is good: while an update goes on, processes of both versions run."""
    current, needed = await _revision(target), newest(target.location)
    if current is None or current < needed:
        raise OldSchema(
            f"The schema {target.service} is at revision {current or 'none'}, and this version of Longshore needs"
            f" {needed}. Run `longshore migrate` first."
        )


async def _is_current(target: Target) -> bool:
    return await _revision(target) == newest(target.location)


async def _revision(target: Target) -> str | None:
    settings = server_settings(target.service)
    with _named(target.url):
        conn = await asyncpg.connect(target.url, timeout=10, server_settings=settings)
    try:
        current: str | None = await conn.fetchval(f"select version_num from {target.service}.alembic_version")
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return None
    finally:
        await conn.close()
    return current


def _upgrade(url: str, service: str, location: Path) -> None:
    """Alembic on an asyncpg engine, in a thread and a loop of its own: its API is synchronous."""
    with _ALEMBIC:
        asyncio.run(_upgrade_async(url, service, location))


async def _upgrade_async(url: str, service: str, location: Path) -> None:
    from alembic.config import Config  # noqa: PLC0415 - see migrate
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415 - see above
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see above
    from sqlalchemy import Connection as Sync  # noqa: PLC0415 - see above
    from sqlalchemy import MetaData, pool  # noqa: PLC0415 - see above
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(location))
    config.set_main_option("version_locations", str(location))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)

    async def connection(*_: object, **__: object) -> asyncpg.Connection:
        return await asyncpg.connect(url, timeout=10, server_settings=server_settings(service))

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connection, poolclass=pool.NullPool)

    def run(sync: Sync) -> None:
        # Two processes may migrate at once; the second waits here and finds nothing left to do.
        sync.exec_driver_sql(f"select pg_advisory_xact_lock(hashtext('migrate {service}'))")
        environment = EnvironmentContext(config, script, fn=lambda revision, _: script._upgrade_revs("head", revision))  # noqa: SLF001 - the function alembic's own command passes
        environment.configure(
            connection=sync,
            target_metadata=MetaData(schema=service),
            version_table_schema=service,
            transactional_ddl=True,
        )
        environment.run_migrations()

    async with engine.begin() as conn:
        await conn.run_sync(run)
    await engine.dispose()


async def _migrate_given() -> None:
    targets = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Target], dec_hook=lambda kind, value: kind(value))
    for target in targets:
        await migrate(target)


if __name__ == "__main__":
    asyncio.run(_migrate_given())
