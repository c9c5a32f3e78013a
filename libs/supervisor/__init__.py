"""The servers of a laptop: Postgres and NATS as child processes that we start, watch, restart and end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path

import structlog

from libs.bus.topology import UserSpec
from libs.lasting import only
from libs.supervisor.child import Child, Identity
from libs.supervisor.folder import DataFolder, DataFolderInUse, UnusableFolder, may_hold_socket
from libs.supervisor.nats import Nats
from libs.supervisor.postgres import Postgres, StartFailed, unprivileged

log = structlog.get_logger()

LONGEST_PAUSE = 5.0


class Servers:
    """Both servers, ready. Whoever holds this may be cut off for a moment, never for good."""

    def __init__(self, secret_key: str, postgres: Postgres, nats: Nats, services: Sequence[str]) -> None:
        self.secret_key = secret_key
        self.postgres = postgres
        self.nats = nats
        self.nats_url = nats.url
        self.database_urls = {service: postgres.url(service) for service in services}
        self.nats_seeds = nats.seeds
        self.restarted = asyncio.Event()
        """Set when a server came back; whoever waits for it clears it."""

    @classmethod
    @asynccontextmanager
    async def run(
        cls, folder: DataFolder, services: Sequence[str], users: Sequence[UserSpec], secret_key: str | None = None
    ) -> AsyncIterator[Servers]:
        """The folder must be locked by the caller. A new one gets `secret_key`, or one that is made up. Raises
        StartFailed, UnusableFolder."""
        folder.create()
        secrets = await asyncio.to_thread(folder.secrets, tuple(services), secret_key)
        identity = unprivileged()
        with _socket(folder, identity) as socket:
            postgres = Postgres(folder, secrets, socket, identity)
            nats = Nats(folder, users)
            await asyncio.to_thread(nats.prepare)
            try:
                async with asyncio.TaskGroup() as starting:
                    starting.create_task(_first(postgres, services))
                    starting.create_task(nats.start())
                servers = cls(secrets.secret_key, postgres, nats, services)
                folder.announce(nats.url)
                async with asyncio.TaskGroup() as watching:
                    keepers = [
                        watching.create_task(servers._keep(one, name))
                        for one, name in ((postgres, "postgres"), (nats, "nats"))
                    ]
                    try:
                        yield servers
                    finally:
                        for keeper in keepers:
                            keeper.cancel()
            except BaseExceptionGroup as group:
                raise only(group) from None
            finally:
                folder.withdraw()
                await asyncio.gather(nats.stop(), postgres.stop())

    async def _keep(self, server: Postgres | Nats, name: str) -> None:
        pause = 0.05
        while True:
            assert server.child is not None, "kept before it was started"
            status = await server.child.wait()
            await log.awarning("server.died", server=name, status=status)
            while True:
                try:
                    await server.start()
                except StartFailed as error:
                    await log.aerror("server.start_failed", server=name, reason=str(error))
                    await asyncio.sleep(pause)  # back-off of a server that can not start
                    pause = min(pause * 2, LONGEST_PAUSE)
                else:
                    pause = 0.05
                    break
            self.restarted.set()
            await log.ainfo("server.restarted", server=name)


def _socket(folder: DataFolder, identity: Identity | None) -> AbstractContextManager[Path]:
    """As root in Postgres' own folder, the one place inside ours that its account may write to; nothing is left behind
    there, whatever ends us."""
    if identity is not None and may_hold_socket(folder.postgres):
        return nullcontext(folder.postgres)
    return folder.socket_folder((identity.uid, identity.gid) if identity else None)


async def _first(postgres: Postgres, services: Sequence[str]) -> None:
    await postgres.start()
    await postgres.ensure_roles(services)


__all__ = ["Child", "DataFolder", "DataFolderInUse", "Identity", "Servers", "StartFailed", "UnusableFolder"]
