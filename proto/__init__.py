"""The shared language: every command, event, refusal and signal, one module per service, and their lookup by tag."""

from __future__ import annotations

from types import ModuleType

from libs.message import Registry
from proto import any as any_service
from proto import auth, gateway, job, notifier, scheduler, storage, unrestrict_proxy, worker

SERVICES: tuple[str, ...] = ("gateway", "auth", "job", "scheduler", "unrestrict_proxy", "storage", "notifier")
"""Import name, Postgres schema and subject token of every service; the deployed name has `-` for `_`."""

MODULES: tuple[ModuleType, ...] = (
    gateway,
    auth,
    job,
    scheduler,
    unrestrict_proxy,
    storage,
    notifier,
    worker,
    any_service,
)

REGISTRY = Registry(MODULES)
