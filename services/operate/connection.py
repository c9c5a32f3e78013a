"""The way to a running installation: through the bus, as the user `cli`."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from libs import bus as buses
from libs import settings
from libs.bus import BusError
from libs.calls import Caller
from libs.supervisor import DataFolder
from proto import REGISTRY


class NotRunning(Exception):
    """Longshore is not running here, as far as can be seen; the message says what was looked at."""


@asynccontextmanager
async def connect(options: argparse.Namespace, environ: Mapping[str, str]) -> AsyncIterator[tuple[buses.Bus, Caller]]:
    """To the server named by the environment, else to the one that runs on the data folder. Raises NotRunning,
    UnusableFolder, BadSettings."""
    url, seed = settings.read("nats_url", environ), settings.read("nats_seed", environ)
    if url is None:
        folder = DataFolder.find(options.data, environ)
        endpoint = folder.endpoint()
        if endpoint is None:
            raise NotRunning(f"nothing runs on {folder.path}")
        url, seed = endpoint, str(folder.seed("cli"))
    try:
        bus = await buses.open(url, user="cli", seed=Path(seed) if seed else None, patience=3)
    except BusError as error:
        raise NotRunning(f"the message server does not answer ({error})") from error
    try:
        yield bus, Caller(bus, REGISTRY, "cli")
    finally:
        await bus.close()
