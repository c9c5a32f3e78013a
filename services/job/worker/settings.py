"""What a worker is told. A module of its own, for others know its names without importing the engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from libs.egress.policy import Allowance
from libs.names import DEFAULT, Extensions
from libs.settings import NatsUrl, OptionalUrl
from services.job.engines.instances import Instances


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    data_dir: Path
    nats_url: NatsUrl
    nats_seed: Path | None = None
    egress_allow: Allowance = Allowance()
    worker_slots: Annotated[int, Meta(ge=1, le=256)] = 4
    worker_id: UUID | None = None
    """Given by a supervisor that will report this worker's death; otherwise the worker names itself."""
    gallery_instances: Instances = Instances()
    """`software=https://host,...`: sites that gallery-dl can read but does not know by name."""
    extensions: Extensions = DEFAULT
    """As storage has it: what it will not keep is not fetched."""
    otlp_endpoint: OptionalUrl = ""
