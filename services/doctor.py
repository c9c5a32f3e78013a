"""`longshore doctor`: is everything there that a download needs, and if not, what to do."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from msgspec import Struct

from libs import telemetry
from libs.bus import Bus, BusError, Stream
from libs.calls import DATABASE_FULL, Caller, ServiceFailed
from libs.feed import SinkGone
from libs.message import Refused
from libs.settings import BadSettings
from libs.supervisor import DataFolder, UnusableFolder
from proto import SERVICES
from proto.any import Health, ReadHealth
from proto.auth import ReadPublicKeys
from proto.gateway import JobRow, ListJobs
from proto.topology import STREAMS
from proto.unrestrict_proxy import HostAccount, ListHostAccounts
from services.operate import NotRunning, connect

LOOK = "Look into the logs of `longshore up`, then restart it."
ROOM = "Make room on that disk; everything goes on by itself then."
LATE = 10.0
"""Seconds, as for readiness: of who is this far behind, and of who has not answered by then."""
LOW_DISK = 2 << 30
"""Bytes; below this a film no longer fits."""


class Finding(Struct, frozen=True):
    """`remedy` None when all is well."""

    subject: str
    state: str
    remedy: str | None = None


async def doctor(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0 when all is well, 1 when something needs a hand."""
    telemetry.setup("doctor", level="critical")
    findings = [await asyncio.to_thread(_ffmpeg), *_engines()]
    try:
        findings.insert(0, _disk(DataFolder.find(options.data, environ).path))
        async with connect(options, environ) as (bus, caller):
            findings += await _servers(bus, caller)
    except (UnusableFolder, BadSettings) as error:
        findings.append(Finding("settings", "wrong", str(error)))
    except NotRunning as error:
        findings.append(Finding("server", str(error), "Start it with `longshore up`."))
    for one in findings:
        print(f"{'ok ' if one.remedy is None else 'BAD'} {one.subject}: {one.state}")
        if one.remedy is not None:
            print(f"    {one.remedy}")
    return 0 if all(one.remedy is None for one in findings) else 1


def _disk(path: Path) -> Finding:
    # Path.exists raises where we may not look.
    present = next(parent for parent in (path, *path.parents) if os.path.exists(parent))  # noqa: PTH110 - see above
    return of_disk(shutil.disk_usage(present).free, present)


def of_disk(free: int, path: Path) -> Finding:
    from services.job.engines.partial import RESERVE  # noqa: PLC0415 - a part of the job service, looked at from outside

    remedy = "Make room, or choose another folder with --data."
    if free < RESERVE:
        text = f"{free >> 20} MiB free at {path}: no download begins below {RESERVE >> 20} MiB, kept for the database"
        return Finding("disk", text, remedy)
    return Finding("disk", f"{free / 2**30:.1f} GiB free at {path}", None if free >= LOW_DISK else remedy)


def _ffmpeg() -> Finding:
    from services.job.engines.sandbox import ffmpeg  # noqa: PLC0415 - a part of the job service, looked at from outside

    with tempfile.TemporaryDirectory() as cache:
        found = ffmpeg(Path(cache))
        return Finding(
            "ffmpeg",
            str(found.resolve()) if found else "not found",
            None if found else "Install ffmpeg: without it sound and picture can not be joined.",
        )


def _engines() -> list[Finding]:
    return [Finding("engine", f"{name} {version(name)}") for name in ("yt-dlp", "gallery-dl")]


def unanswered(name: str, error: Exception) -> Finding:
    return Finding(name, str(error), ROOM if DATABASE_FULL in str(error) else LOOK)


async def _accounts(caller: Caller) -> list[Finding]:
    """Those that are out for a time come back by themselves."""
    name = "unrestrict-proxy and its database"
    try:
        accounts = await caller.query(ListHostAccounts(), result=list[HostAccount], timeout=LATE)
    except (BusError, ServiceFailed, Refused) as error:
        return [unanswered(name, error)]
    broken = [one for one in accounts if one.standing == "broken"]
    return [
        Finding(name, "answers"),
        *(
            Finding(
                f"account {one.username} on {one.platform}".replace("  ", " "),
                one.reason,
                f"Mend it there, then `longshore host check {one.account_id}`; or remove it.",
            )
            for one in broken
        ),
    ]


async def _health(service: str, caller: Caller) -> list[Finding]:
    """Whether it keeps up with what happens."""
    name = service.replace("_", "-")
    try:
        health = await caller.query(ReadHealth(), result=Health, timeout=LATE, of=service)
    except (BusError, ServiceFailed) as error:
        return [unanswered(name, error)]
    late = {"relay": health.relay or 0.0, **health.consumers}
    slowest = max(late, key=lambda one: late[one])
    behind = Finding(name, "keeps up")
    if late[slowest] >= LATE:
        behind = Finding(name, f"{slowest} is {late[slowest]:.0f} s behind", LOOK)
    if not health.dead_letters:
        return [behind]
    put_aside = "See `longshore dead-letters`; mend what was wrong, then `longshore dead-letters redrive --all`."
    return [behind, Finding(name, f"{health.dead_letters} events could not be applied", put_aside)]


async def _servers(bus: Bus, caller: Caller) -> list[Finding]:
    asked: tuple[tuple[str, Callable[[], Awaitable[object]]], ...] = (
        ("auth", lambda: caller.query(ReadPublicKeys(), result=dict[str, str], timeout=LATE)),
        ("gateway and its database", lambda: caller.query(ListJobs(limit=1), result=list[JobRow], timeout=LATE)),
    )
    findings = [Finding("NATS", "connected")]
    for name, ask in asked:
        try:
            await ask()
            findings.append(Finding(name, "answers"))
        except (BusError, ServiceFailed, Refused) as error:
            findings.append(unanswered(name, error))
    for service in SERVICES:
        findings += await _health(service, caller)
    findings += await _accounts(caller)
    for spec in STREAMS:
        try:
            state = (await Stream(bus, spec.name).info())["state"]
            findings.append(Finding(f"stream {spec.name}", f"{state['messages']} messages"))
        except SinkGone as error:
            findings.append(
                Finding(
                    f"stream {spec.name}",
                    str(error),
                    "`longshore up` makes it anew within seconds; elsewhere run `longshore migrate`.",
                )
            )
    return findings
