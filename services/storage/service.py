"""Wiring of the storage service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.calls import serve
from libs.runtime import Resources, Service, ServiceSettings
from libs.sealing import LinkSigner
from proto import REGISTRY
from services.storage.app import FileServer
from services.storage.handlers import HANDLERS
from services.storage.targets.local import LocalTarget


@asynccontextmanager
async def start(settings: ServiceSettings, resources: Resources) -> AsyncIterator[None]:
    pool, bus, store = await resources.event_source(settings, "storage", REGISTRY)
    target = LocalTarget(settings.data_dir / "files", settings.data_dir / "work")
    await serve(bus, "storage", HANDLERS, {"pool": pool, "store": store, "target": target})
    resources.mount("/files", FileServer(pool, target, LinkSigner(settings.secret_key, "files")))
    yield


SERVICE = Service("storage", ServiceSettings, start)
