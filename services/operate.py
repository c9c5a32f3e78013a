"""Commands of an operator on a running installation: through the bus, as the user `cli`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from libs import bus as buses
from libs import settings, telemetry
from libs.bus import BusError, Message
from libs.calls import Caller, ServiceFailed
from libs.message import Refused, new_id
from libs.settings import BadSettings
from libs.supervisor import DataFolder, UnusableFolder
from proto import REGISTRY
from proto.auth import (
    CreateUser,
    IssuedKey,
    IssueKey,
    KeyInfo,
    Limits,
    ListKeys,
    ReadLimits,
    ReadUser,
    RevokeKey,
    SetLimits,
    User,
)
from proto.gateway import JobRow, ListJobs, ReadJob
from proto.job import HistoryEntry, Options, ReadHistory, Request, SubmitJobs, Submitted
from proto.job import Progress as ProgressSignal
from proto.unrestrict_proxy import ReadTraffic, ReadTrafficHistory, SetTraffic, Traffic, TrafficEntry
from services.hosts import host

LONGEST_NUMBER = 18
"""Digits; the database counts to nineteen."""
ENDED = ("completed", "failed", "cancelled")


class NotRunning(Exception):
    """Longshore is not running on this data folder; start it with `longshore up`."""


class BadWord(ValueError):
    """What was said on the command line is not what it must be."""


@asynccontextmanager
async def connect(options: argparse.Namespace, environ: Mapping[str, str]) -> AsyncIterator[tuple[buses.Bus, Caller]]:
    """To the server named by the environment, else to the one that runs on the data folder. Raises NotRunning,
    UnusableFolder, BadSettings."""
    url, seed = settings.read("nats_url", environ), settings.read("nats_seed", environ)
    if url is None:
        folder = DataFolder.find(options.data, environ)
        endpoint = folder.endpoint()
        if endpoint is None:
            raise NotRunning(f"nothing runs on {folder.path}; start it with `longshore up`")
        url, seed = endpoint, str(folder.seed("cli"))
    try:
        bus = await buses.open(url, user="cli", seed=Path(seed) if seed else None, patience=3)
    except BusError as error:
        raise NotRunning(f"the message server at {url} does not answer") from error
    try:
        yield bus, Caller(bus, REGISTRY, "cli")
    finally:
        await bus.close()


async def operate(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    telemetry.setup("cli", level="error")  # stdout is the command's result, and nothing else
    try:
        async with connect(options, environ) as (bus, caller):
            match options.command:
                case "user" if options.action == "limit":
                    return await _limit_user(options, caller)
                case "user" if options.action == "quota":
                    return await _quota(options, caller)
                case "user":
                    return await _add_user(options, caller)
                case "key":
                    return await _key(options, caller, environ)
                case "host":
                    return await host(options, caller, _show)
                case "get":
                    return await _get(options, bus, caller, environ)
                case "jobs":
                    return await _jobs(caller)
                case "job":
                    return await _job(options.id, caller)
                case "history":
                    return await _history(options.id, caller)
                case _:
                    return await _events(options, bus)
    except Refused as refused:
        print(f"{refused.refusal.message}.", file=sys.stderr)
    except BadWord as error:
        print(f"{error}.", file=sys.stderr)
        return 2
    except (UnusableFolder, BadSettings) as error:
        print(error, file=sys.stderr)
    except (NotRunning, BusError, ServiceFailed) as error:
        print(f"{error}.", file=sys.stderr)
    return 1


async def _add_user(options: argparse.Namespace, caller: Caller) -> int:
    password = await asyncio.to_thread(sys.stdin.readline)
    user, _ = await caller.command(
        CreateUser(username=options.name, password=password.rstrip("\r\n"), role=options.role, email=options.email),
        result=User,
        actor="operator",
    )
    print(f"{user.username} ({user.role})")
    return 0


async def _limit_user(options: argparse.Namespace, caller: Caller) -> int:
    limits = await caller.query(ReadLimits(username=options.name), result=Limits)
    changed = limited(limits, options.concurrent, options.bandwidth, options.storage, options.window)
    if changed != limits:
        await caller.command(SetLimits(by=None, username=options.name, limits=changed), actor="operator")
    shown = {
        "concurrent": changed.concurrent,
        "bandwidth": changed.bandwidth,
        "storage": changed.storage,
        "window": ", ".join(f"{one.opens}-{one.closes}" for one in changed.windows) or None,
    }
    for name, value in shown.items():
        print(f"{name}: {'none' if value is None else value}")
    return 0


async def _quota(options: argparse.Namespace, caller: Caller) -> int:
    owner = (await caller.query(ReadUser(username=options.name), result=User)).user_id
    if options.history:
        table = Table("time", "what", "bytes", "host", "file", box=None)
        for one in await caller.query(ReadTrafficHistory(owner=owner), result=list[TrafficEntry]):
            table.add_row(f"{one.at:%Y-%m-%d %H:%M:%S}", one.kind, str(one.bytes), one.platform or "", one.name or "")
        _show(table)
        return 0
    quota, daily = (None if text is None else size(text) for text in (options.traffic, options.daily))
    if (quota, daily, options.at_once) == (None, None, None):
        traffic = await caller.query(ReadTraffic(owner=owner), result=Traffic)
    else:
        said = {"owner": owner, "quota": quota, "host_daily": daily, "concurrent": options.at_once}
        try:
            command = msgspec.convert(said, SetTraffic)
        except msgspec.ValidationError as error:
            raise BadWord(f"this can not be granted: {error}") from error
        traffic, _ = await caller.command(command, result=Traffic, actor="operator")
    print(f"traffic: {traffic.quota}\nleft: {traffic.left}\nreserved: {traffic.reserved}")
    print(f"daily: {traffic.host_daily or 'none'}\nat once: {traffic.concurrent or 'none'}")
    for platform, used in sorted(traffic.host_used.items()):
        print(f"{platform} in 24 hours: {used}")
    return 0


def limited(
    limits: Limits, concurrent: str | None, bandwidth: str | None, storage: str | None, windows: list[str] | None
) -> Limits:
    """`limits` with what was said on the command line; None changes nothing. Raises BadWord."""
    changes: dict[str, Any] = {
        name: None if text == "none" else size(text)
        for name, text in (("concurrent", concurrent), ("bandwidth", bandwidth), ("storage", storage))
        if text is not None
    }
    if windows is not None:
        said = [] if windows == ["none"] else [one.partition("-") for one in windows]
        changes["windows"] = [{"opens": opens, "closes": closes} for opens, _, closes in said]
    try:
        return msgspec.convert({**msgspec.to_builtins(limits), **changes}, Limits)
    except msgspec.ValidationError as error:
        raise BadWord(f"this can not be a limit: {error}") from error


def size(text: str) -> int:
    """Of `500`, `64K`, `1.5G`; units are powers of 1024. Raises BadWord."""
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    try:
        return int(float(number) * 1024 ** " KMGT".index(unit or " "))
    except (ValueError, OverflowError):
        raise BadWord(f"{text} is no number of bytes, such as 500, 64K or 1.5G") from None


async def _key(options: argparse.Namespace, caller: Caller, environ: Mapping[str, str]) -> int:
    if options.action == "list":
        table = Table("id", "user", "dialect", "name", "expires", box=None)
        for one in await caller.query(ListKeys(username=options.user), result=list[KeyInfo]):
            table.add_row(str(one.key_id), one.username, one.dialect, one.name, str(one.expires_at or "never"))
        _show(table)
        return 0
    if options.action == "revoke":
        await caller.command(RevokeKey(owner=None, key_id=options.id), actor="operator")
        return 0
    if options.dialect != "jobs" and "legacy" in (options.webhook_style, options.status_style):
        raise BadWord("only the jobs API has an older style")
    issued, _ = await caller.command(
        IssueKey(
            dialect=options.dialect,
            username=options.user or _admin(environ),
            name=options.name or options.dialect,
            webhook_style=options.webhook_style,
            status_style=options.status_style,
        ),
        result=IssuedKey,
        actor="operator",
    )
    print(issued.key)
    return 0


def _admin(environ: Mapping[str, str]) -> str:
    return settings.read("admin_username", environ) or "admin"


async def _get(options: argparse.Namespace, bus: buses.Bus, caller: Caller, environ: Mapping[str, str]) -> int:
    user = await caller.query(ReadUser(username=_admin(environ)), result=User)
    chosen = Options(preset=options.preset)
    requests = tuple(
        Request(job_id=new_id(), url=url, options=chosen, not_before=options.not_before) for url in options.urls
    )
    watch = _Watch(tuple(request.job_id for request in requests))
    # Listening begins before the jobs exist, so the quickest of them can not finish unseen.
    await bus.listen(f"progress.{user.user_id}.*", watch.progress)
    await caller.command(
        SubmitJobs(owner=user.user_id, dialect="cli", requests=requests),
        result=Submitted,
        actor="operator",
        command_id=new_id(),
    )
    with _bars(options) as progress:
        rows = await watch.until_ended(caller, progress, dict(zip(watch.ids, options.urls, strict=True)))
    for row in rows:
        _print_end(row, as_json=options.json)
    return 0 if all(row.state == "completed" for row in rows) else 1


def _bars(options: argparse.Namespace) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[state]}"),
        console=Console(stderr=True),
        disable=options.wait or options.json or not sys.stderr.isatty(),
    )


class _Watch:
    """Waits for jobs to end, with the latest progress of each."""

    def __init__(self, ids: tuple[UUID, ...]) -> None:
        self.ids = ids
        self._latest: dict[UUID, ProgressSignal] = {}

    async def progress(self, message: Message) -> None:
        signal = msgspec.json.decode(message.body, type=ProgressSignal)
        if signal.job_id in self.ids:
            self._latest[signal.job_id] = signal

    async def until_ended(self, caller: Caller, progress: Progress, names: Mapping[UUID, str]) -> list[JobRow]:
        bars: dict[UUID, TaskID] = {one: progress.add_task(names[one], total=None, state="queued") for one in self.ids}
        while True:
            rows = {row.job_id: row for row in await caller.query(ListJobs(job_ids=self.ids), result=list[JobRow])}
            for job_id, bar in bars.items():
                row, latest = rows.get(job_id), self._latest.get(job_id)
                total = latest.total_bytes if latest else None
                done = latest.done_bytes if latest else 0
                if row is not None and row.state == "completed":
                    total = done = row.size
                progress.update(bar, total=total, completed=done, state=row.state if row else "queued")
            if len(rows) == len(self.ids) and all(row.state in ENDED for row in rows.values()):
                return [rows[one] for one in self.ids]
            await asyncio.sleep(0.2)  # the pace of the display


def _print_end(row: JobRow, *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(row).decode())
    elif row.state == "completed":
        print("\n".join(row.files) if row.files else f"{row.url}: nothing new")
    else:
        print(f"{row.url}: {row.state}{f': {row.error}' if row.error else ''}", file=sys.stderr)


async def _jobs(caller: Caller) -> int:
    table = Table("number", "state", "link", "title", "error", box=None)
    for row in await caller.query(ListJobs(), result=list[JobRow]):
        table.add_row(str(row.number), row.state, row.url, row.title or "", row.error or "")
    _show(table)
    return 0


def _show(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else 250).print(table)


async def _job(text: str, caller: Caller) -> int:
    row = await _find(text, caller)
    print(json.dumps(msgspec.to_builtins(row), indent=2, ensure_ascii=False))
    return 0


async def _history(text: str, caller: Caller) -> int:
    row = await _find(text, caller)
    for one in await caller.query(ReadHistory(owner=None, job_id=row.job_id), result=list[HistoryEntry]):
        rest = {key: value for key, value in one.data.items() if key not in ("job_id", "owner", "at", "type")}
        print(
            f"{one.recorded_at:%Y-%m-%d %H:%M:%S.%f} {one.type:<20} {one.actor:<16} "
            f"{json.dumps(rest, ensure_ascii=False)}"
        )
    return 0


async def _find(text: str, caller: Caller) -> JobRow:
    try:
        wanted = ReadJob(number=_number(text)) if text.isdecimal() else ReadJob(job_id=UUID(text))
    except ValueError:
        raise NotRunning(f"{text} is neither a job's number nor its id") from None
    return await caller.query(wanted, result=JobRow)


def _number(text: str) -> int:
    """Raises ValueError for one that no job can have."""
    if len(text) > LONGEST_NUMBER:
        raise ValueError(text)
    return int(text)


async def _events(options: argparse.Namespace, bus: buses.Bus) -> int:
    """Everything that jobs' history still holds, then, with --follow, what happens."""
    end = None if options.follow else await buses.Stream(bus, "EV_JOB").last_sequence()
    if end == 0:
        return 0
    async with buses.follow(bus, "EV_JOB") as batches:
        async for batch in batches:
            for one in batch:
                body: dict[str, Any] = msgspec.json.decode(one.body)
                print(
                    json.dumps(
                        {
                            "sequence": one.sequence,
                            "type": one.event_type,
                            "recorded_at": one.recorded_at.isoformat(),
                            "data": body,
                        },
                        ensure_ascii=False,
                    ),
                    flush=True,
                )
                if end is not None and one.sequence >= end:
                    return 0
    return 0
