"""Jobs from the terminal."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Column, Table

from libs import bus as buses
from libs.bus import BusError, Message
from libs.calls import Caller, ServiceFailed
from libs.message import Refused, new_id
from proto.auth import (
    ReadUser,
    User,
)
from proto.gateway import JobRow, ListJobs, ReadJob
from proto.job import BadRequest, HistoryEntry, Options, ReadHistory, Request, SubmitJobs, Submitted
from proto.job import Progress as ProgressSignal
from services.operate.words import admin, plain, show

LONGEST_NUMBER = 18
"""Digits; the database counts to nineteen."""
ENDED = ("completed", "failed", "cancelled")


class NoJob(Exception):
    """No job can be called so."""


async def get(options: argparse.Namespace, bus: buses.Bus, caller: Caller, environ: Mapping[str, str]) -> int:
    user = await caller.query(ReadUser(username=admin(environ)), result=User)
    chosen = Options(preset=options.preset)
    requests = tuple(
        Request(job_id=new_id(), url=url, options=chosen, not_before=options.not_before) for url in options.urls
    )
    watch = _Watch(tuple(request.job_id for request in requests))
    # Listening begins before the jobs exist, so the quickest of them can not finish unseen.
    await bus.listen(f"progress.{user.user_id}.*", watch.progress)
    try:
        await caller.command(
            SubmitJobs(owner=user.user_id, dialect="cli", requests=requests),
            result=Submitted,
            actor="operator",
            command_id=new_id(),
        )
    except Refused as refused:
        if not isinstance(refused.refusal, BadRequest):
            raise
        print(f"{options.urls[refused.refusal.index]}: {refused.refusal.message}.", file=sys.stderr)
        return 1
    try:
        with _bars(options) as progress:
            rows = await watch.until_ended(caller, progress, dict(zip(watch.ids, options.urls, strict=True)))
    except (asyncio.CancelledError, BusError, ServiceFailed):
        print("The downloads go on without this command; `longshore jobs` shows them.", file=sys.stderr)
        raise
    for row in rows:
        _print_end(row, as_json=options.json)
    return 0 if all(row.state == "completed" for row in rows) else 1


def _bars(options: argparse.Namespace) -> Progress:
    return Progress(
        # A long link gives way to what is known of it.
        TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        console=plain(stderr=True),
        expand=True,
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
        if row.more_items:
            print(f"{row.url}: {row.more_items} more", file=sys.stderr)
    else:
        print(f"{row.url}: {row.state}{f': {row.error}' if row.error else ''}", file=sys.stderr)


async def jobs(caller: Caller) -> int:
    table = Table("number", "state", "link", "title", "error", box=None)
    for row in await caller.query(ListJobs(), result=list[JobRow]):
        table.add_row(str(row.number), row.state, row.url, row.title or "", row.error or "")
    show(table)
    return 0


async def job(text: str, caller: Caller) -> int:
    row = await _find(text, caller)
    print(json.dumps(msgspec.to_builtins(row), indent=2, ensure_ascii=False))
    return 0


async def history(text: str, caller: Caller) -> int:
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
        raise NoJob(f"{text} is neither a job's number nor its id") from None
    return await caller.query(wanted, result=JobRow)


def _number(text: str) -> int:
    """Raises ValueError for one that no job can have."""
    if len(text) > LONGEST_NUMBER:
        raise ValueError(text)
    return int(text)


async def events(options: argparse.Namespace, bus: buses.Bus) -> int:
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
