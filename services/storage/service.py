"""Wiring of the storage service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self

from libs.calls import serve
from libs.database import Connection
from libs.egress.policy import EgressPolicy
from libs.eventstore.projection import Applied
from libs.names import DEFAULT, Extensions, extensions
from libs.runtime import Resources, Service, ServiceSettings
from libs.sealing import LinkSigner, Sealer
from proto import REGISTRY
from services.operations import answer_operator
from services.storage.app import FileServer
from services.storage.domain import check_folders
from services.storage.eraser import Eraser
from services.storage.handlers import DELETIONS, HANDLERS, delete_files
from services.storage.keeping import Keeper
from services.storage.remote import Remote
from services.storage.targets.local import LocalTarget
from services.storage.targets.mover import Mover


class Folders(str):
    """A template of folders."""

    __slots__ = ()

    @classmethod
    def read_setting(cls, value: object) -> Self:
        """Raises ValueError."""
        check_folders(str(value))
        return cls(value)


class StorageSettings(ServiceSettings, frozen=True, kw_only=True):
    extensions: Extensions = DEFAULT
    """Endings of files that are kept, separated by commas: `default` is our list, `*` everything."""
    folders: Folders = Folders()
    """Where files go on our own disk, below their owner's folder and above the job's own."""


@asynccontextmanager
async def start(settings: StorageSettings, resources: Resources) -> AsyncIterator[None]:
    pool, bus, store = await resources.event_source(settings, "storage", REGISTRY, kept=0)
    target = LocalTarget(settings.data_dir / "files", settings.data_dir / "work")
    async with Mover(EgressPolicy.parse(settings.egress_allow)) as mover:
        remote = Remote(pool, store, target, mover, Sealer(settings.secret_key, "storage-target"))
        keeper, eraser = Keeper(pool, store, target, settings.folders), Eraser(pool, remote)

        async def delete(conn: Connection, batch: Sequence[Applied]) -> None:
            await delete_files(conn, batch, keeper)

        resources.follow(
            "deletions",
            "EV_JOB",
            DELETIONS,
            delete,
            pool=pool,
            bus=bus,
            registry=REGISTRY,
            committed=lambda _: eraser.woken.set(),
        )
        resources.spawn(eraser.run(), "eraser")
        await answer_operator(bus, "storage", pool, resources)
        await serve(
            bus,
            "storage",
            HANDLERS,
            {
                "pool": pool,
                "store": store,
                "keeper": keeper,
                "remote": remote,
                "allowed": extensions(settings.extensions),
            },
        )
        resources.mount(
            "/files", FileServer(pool, target, LinkSigner(settings.secret_key, "files", settings.link_keys))
        )
        try:
            yield
        finally:
            await remote.close()


SERVICE = Service("storage", StorageSettings, start)
