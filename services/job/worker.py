"""A worker process: dramatiq threads that take tickets, and one event loop that runs them.

It knows no database and no secret but its own seed for the bus. Each slot runs one attempt; foreign engines run in
children of their own, reached through this process's egress proxy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import dramatiq
import msgspec
import structlog

from libs import bus as buses
from libs import telemetry
from libs.broker import JetStreamBroker
from libs.bus import Message
from libs.calls import Caller
from libs.egress.policy import EgressPolicy
from libs.egress.proxy import EgressProxy
from proto import REGISTRY
from proto.job import Control, Ticket, WorkerHeartbeat
from services.job.attempt import NotNow, Worker
from services.job.engines.gallerydl import GalleryDlEngine
from services.job.engines.http import HttpEngine
from services.job.engines.routing import Router
from services.job.engines.ytdlp import YtdlpEngine

log = structlog.get_logger()

HEARTBEAT_SECONDS = 1.0
DRAIN_SECONDS = 25.0
"""Below the thirty seconds that a stopping worker is promised to need."""

_encode = msgspec.json.Encoder().encode


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    data_dir: Path
    nats_url: str
    nats_seed: Path | None = None
    egress_allow: str = ""
    worker_slots: int = 4
    worker_id: UUID | None = None
    """Given by a supervisor that will report this worker's death; otherwise the worker names itself."""
    gallery_instances: str = ""
    otlp_endpoint: str | None = None
