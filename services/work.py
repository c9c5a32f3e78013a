"""One worker, told by the environment. It imports no service: their libraries would double its memory."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from libs import memory, settings, telemetry
from libs.bus import BusError
from proto import SERVICES
from services.job.worker.process import work as run
from services.job.worker.settings import WorkerSettings
from services.stopping import stop_signal


async def work(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    memory.give_back()
    given = {"worker": {"worker_slots": options.slots}} if options.slots else None
    try:
        values: WorkerSettings = settings.load(
            {"worker": WorkerSettings}, environ, given=given, known=_of_services, tables=SERVICES
        )["worker"]
        flush = telemetry.setup("worker", otlp_endpoint=values.otlp_endpoint)
        try:
            await run(values, stop_signal())
        finally:
            flush()
    except (settings.BadSettings, BusError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _of_services() -> set[str]:
    from services.serve import known_names  # noqa: PLC0415 - see module docstring

    return known_names()
