"""Links of a file host through a pool of accounts: what two hundred at once get, and how quick a known one is."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from typing import Any

import aiohttp
import msgspec

from tests.bench.system import System, run
from tests.site.hosts import Host

FILES = 200
SIZE = 500_000
RATE = 150_000
"""Bytes a second of one connection: slow enough that slots are what all wait for."""


BUSY = 105
"""The number of "try again later"."""


class Outcome(msgspec.Struct, frozen=True):
    """`busy` slots on the average of the middle half of the time; `spent` bytes of the user's traffic."""

    done: int
    seconds: float
    peak: int
    busy: float
    spent: int


async def add(one: System, host: Host, accounts: list[Any]) -> None:
    for account in accounts:
        await run(
            *(sys.executable, "-m", "services", "host", "add", "--platform", host.platform, "--user", account.username),
            *("--secret-stdin", "--base-url", host.base_url, "--data", str(one.folder)),
            stdin=account.secret.encode(),
        )


async def storm(one: System, key: str, host: Host, accounts: list[Any]) -> Outcome:
    """All links are asked for at once, and polled until each has ended."""
    files = [host.add_file(f"{number}.bin", SIZE) for number in range(FILES)]
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(one.url, connector=connector, headers={"X-Api-Key": key}) as http:
        before = await _left(http)
        began = time.perf_counter()
        busy: list[int] = []
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(_watch(accounts, busy))
            ended = await asyncio.gather(*(fetched(http, file.url) for file in files))
            watching.cancel()
        seconds = time.perf_counter() - began
        spent = before - await _left(http)
    middle = busy[len(busy) // 4 : len(busy) * 3 // 4]
    return Outcome(
        done=sum(ended),
        seconds=seconds,
        peak=max(one.peak for one in accounts),
        busy=statistics.mean(middle),
        spent=spent,
    )


async def _watch(accounts: list[Any], busy: list[int]) -> None:
    while True:
        busy.append(sum(one.connections for one in accounts))
        await asyncio.sleep(0.02)  # the interval of the sample


async def fetched(http: aiohttp.ClientSession, url: str) -> bool:
    link = await _call(http, "POST", "/api/external/v1/unrestrict", {"url": url})
    while link["remote_status"] not in {"done", "error"}:
        await asyncio.sleep(1)  # the interval of a polling client
        link = await _call(http, "GET", f"/api/external/v1/link/{link['linkId']}", None)
    return bool(link["download_ready"])


async def again(one: System, key: str, url: str) -> list[float]:
    """Seconds of each of two hundred questions for a link that is kept."""
    times = []
    async with aiohttp.ClientSession(one.url, headers={"X-Api-Key": key}) as http:
        for _ in range(FILES):
            began = time.perf_counter()
            link = await _call(http, "POST", "/api/external/v1/unrestrict", {"url": url})
            times.append(time.perf_counter() - began)
            assert link["reusedExisting"]
    return times


def p50(times: list[float]) -> float:
    return statistics.median(times)


async def _left(http: aiohttp.ClientSession) -> int:
    return int((await _call(http, "GET", "/api/external/v1/account", None))["trafficleft"])


async def _call(http: aiohttp.ClientSession, method: str, path: str, body: Any) -> Any:
    data = None if body is None else json.dumps(body)
    async with http.request(method, path, data=data, headers={"Content-Type": "application/json"}) as answer:
        found = await answer.json()
    if found["success"]:
        return found["data"]
    if found["status"] != BUSY:
        raise SystemExit(f"{method} {path} was refused: {found}")
    await asyncio.sleep(found["retry_in_seconds"])  # the interval that the answer asks for
    return await _call(http, method, path, body)
