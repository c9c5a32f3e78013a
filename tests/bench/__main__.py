"""Every figure of the README beside its bar, and where one can be had, a peer or a raw limit of the same run."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from tests.bench import hosting, items
from tests.bench.system import System, load, run, system
from tests.site import SiteProcess
from tests.site.hosts import Hosts

Report = Callable[[str, str, str, str], None]


def report(figure: str, measured: str, bar: str, beside: str = "") -> None:
    print(f"{figure:<52} {measured:>22}   bar {bar:>12}   {beside}", flush=True)


async def start(_: object) -> None:
    """First start to ready, and a later start on the same folder."""
    with tempfile.TemporaryDirectory(prefix="longshore-bench-") as made:
        folder = Path(made) / "data"
        async with system(folder=folder) as first:
            report("first start to ready, s", f"{first.started:.2f}", "6")
        async with system(folder=folder) as again:
            report("later start to ready, s", f"{again.started:.2f}", "2.5")


async def memory(_: object) -> None:
    """Idle, a while after the start, when pools have given back what the start needed."""
    async with system() as one:
        await asyncio.sleep(45)
        report(
            "idle memory of all processes (PSS), MB", f"{one.pss():.0f}", "220", "MeTube 63, one process, no database"
        )
        for process in one.processes():
            print(f"    {process.memory_full_info().pss / 1e6:6.1f} {' '.join(process.cmdline())[:90]}")


async def accept(site: SiteProcess) -> None:
    """Jobs accepted, each durable in Postgres before its answer, while a worker already runs them."""
    async with system() as one:
        key = await one.key("jobs")
        link = site.file(1000, "small.bin")
        for connections, count, bar, peer in (
            (1, 1500, "400", "758 (not durable)"),
            (16, 5000, "1400", "1355 (not durable)"),
        ):
            done = await load(
                host="127.0.0.1",
                port=one.port,
                path="/jobs",
                headers={"x-api-key": key},
                bodies=[json.dumps({"url": link})] * count,
                connections=connections,
            )
            report(
                f"accepted jobs/s, {connections} connections (p50 {done['p50'] * 1e3:.1f} ms)",
                f"{done['rate']:.0f}",
                bar,
                f"best peer {peer}",
            )
    async with system() as one:
        key = await one.key("gdluxx")
        # The same link again would be the same job.
        calls = [json.dumps({"urls": [site.file(1000, f"{call}-{n}.bin") for n in range(100)]}) for call in range(200)]
        done = await load(
            host="127.0.0.1",
            port=one.port,
            path="/api/extension/external",
            headers={"Authorization": f"Bearer {key}"},
            bodies=calls,
            connections=4,
        )
        report("jobs/s through calls of 100 links", f"{done['rate'] * 100:.0f}", "8000")


async def bulk(site: SiteProcess) -> None:
    """1,000 jobs in calls of 100, one after the other, as an SDK hands them over; a worker runs them meanwhile."""
    async with system() as one, aiohttp.ClientSession() as session:
        key = await one.key("jobs")
        headers = {"x-api-key": key}
        links = [{"url": site.file(1000, f"{number}.bin")} for number in range(1000)]
        began = time.perf_counter()
        for start in range(0, 1000, 100):
            body = {"jobs": links[start : start + 100]}
            async with session.post(f"{one.url}/jobs/bulk", json=body, headers=headers) as answer:
                assert answer.status == 201, await answer.text()
        accepted = time.perf_counter() - began
        total = 0
        while total < 1000:
            async with session.get(f"{one.url}/jobs?limit=1", headers=headers) as answer:
                total = (await answer.json())["total"]
        listed = time.perf_counter() - began
        report("1,000 jobs through bulk, accepted jobs/s", f"{1000 / accepted:.0f}", "none")
        report("1,000 jobs through bulk, until all are listed, jobs/s", f"{1000 / listed:.0f}", "none")


async def complete(site: SiteProcess) -> None:
    """Submit to completed, and last byte to the socket's event, one after the other."""
    async with system() as one, aiohttp.ClientSession() as session:
        key, token = await one.key("jobs"), await one.token()
        async with session.ws_connect(f"{one.url}/ws/downloads?token={token}") as socket:
            for name, link, bar in (
                ("direct", site.file(100_000, "a.bin"), "40"),
                ("through yt-dlp", site.url("/watch/embed"), "180"),
            ):
                times, tails = [], []
                for index in range(25):
                    target = link if name != "direct" else site.file(100_000, f"{index}.bin")
                    began = time.time()
                    async with session.post(
                        f"{one.url}/jobs", json={"url": target}, headers={"x-api-key": key}
                    ) as answer:
                        await answer.json()
                    await _until(socket, "download_completed")
                    ended = time.time()
                    if index >= 5:
                        times.append(ended - began)
                        tails.append(ended - max(hit.at for hit in site.log[-3:]))
                report(
                    f"submit to completed, 100 kB, {name}, p50 ms",
                    f"{statistics.median(times) * 1e3:.0f}",
                    bar,
                    "MeTube 154",
                )
                if name == "direct":
                    report(
                        "origin asked to socket event, p50 ms",
                        f"{statistics.median(tails) * 1e3:.0f}",
                        "30",
                        "MeTube 85; counted from the request at the origin",
                    )


async def _until(socket: aiohttp.ClientWebSocketResponse, kind: str) -> None:
    async with asyncio.timeout(60):
        while (await socket.receive_json())["type"] != kind:
            pass


async def many(site: SiteProcess) -> None:
    """200 small files, each behind a link of its own: the same link again would be the same job."""
    films = "/watch/embed?media=rate%3D1{:09}"  # a rate that nothing reaches
    for name, link, bar in (("direct", "/file/100000/{}.bin", "60"), ("through yt-dlp", films, "12")):
        async with system() as one, aiohttp.ClientSession() as session:
            key, token = await one.key("gdluxx"), await one.token()
            async with session.ws_connect(f"{one.url}/ws/downloads?token={token}") as socket:
                await _submit(session, one, key, [site.url("") + link.format(1000 + n) for n in range(2)])
                for _ in range(2):
                    await _until(socket, "download_completed")
                began = time.perf_counter()
                await _submit(session, one, key, [site.url("") + link.format(n) for n in range(200)])
                for _ in range(200):
                    await _until(socket, "download_completed")
                report(
                    f"200 small files, {name}, jobs/s", f"{200 / (time.perf_counter() - began):.1f}", bar, "MeTube 8"
                )


async def _submit(session: aiohttp.ClientSession, one: System, key: str, links: list[str]) -> None:
    async with session.post(
        f"{one.url}/api/extension/external", json={"urls": links}, headers={"Authorization": f"Bearer {key}"}
    ) as answer:
        assert (await answer.json())["success"]


async def big(site: SiteProcess) -> None:
    """1 GiB with sha256 through the whole system, in turn with curl."""
    curl = shutil.which("curl")
    ratios = []
    async with system() as one, aiohttp.ClientSession() as session:
        key, token = await one.key("jobs"), await one.token()
        async with session.ws_connect(f"{one.url}/ws/downloads?token={token}") as socket:
            for index in range(3):
                link = site.file(1 << 30, f"big{index}.bin")
                began = time.perf_counter()
                async with session.post(f"{one.url}/jobs", json={"url": link}, headers={"x-api-key": key}):
                    await _until(socket, "download_completed")
                ours = time.perf_counter() - began
                with tempfile.TemporaryDirectory(dir=one.folder) as made:
                    began = time.perf_counter()
                    await run(str(curl), "-s", "-o", f"{made}/file", link)
                    theirs = time.perf_counter() - began
                ratios.append(theirs / ours)
                print(f"    1 GiB: {1024 / ours:.0f} MiB/s, curl {1024 / theirs:.0f} MiB/s", flush=True)
                shutil.rmtree(one.folder / "files", ignore_errors=True)
    report(
        "1 GiB with sha256 against curl, median ratio", f"{statistics.median(ratios):.2f}", "0.9", "aria2 0.98, no hash"
    )


async def serve(_: object) -> None:
    """1 GiB that was fetched for a link, in turn with nginx and its sendfile; and asking for that link again."""
    from tests.bench.serving import fetched, linked, nginx  # noqa: PLC0415 - imports what the other benches do not need

    size, turns = 1 << 30, 5
    with tempfile.TemporaryDirectory(prefix="longshore-bench-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        async with system(folder=folder / "data") as one, linked(one, size) as file:
            with nginx(folder, file.path.parent) as theirs:
                for connections in (1, 16):
                    ratios, speeds = [], []
                    for _ in range(turns):
                        ours = await asyncio.to_thread(fetched, file.link, size, connections)
                        other = await asyncio.to_thread(fetched, f"{theirs}/{file.path.name}", size, connections)
                        ratios.append(other / ours)
                        speeds.append(f"{size / ours / 1e6:.0f}/{size / other / 1e6:.0f}")
                    report(
                        f"serving 1 GiB against nginx, {connections} connections, ratio",
                        f"{statistics.median(ratios):.2f}",
                        "0.8",
                        f"MB/s here/there: {' '.join(speeds)}",
                    )
            done = await load(
                host="127.0.0.1",
                port=one.port,
                path="/api/external/v1/unrestrict",
                headers={"Authorization": f"Bearer {file.key}"},
                bodies=[json.dumps({"url": file.url})] * 500,
                connections=1,
            )
            report("unrestrict of a stored file, p50 ms", f"{done['p50'] * 1e3:.1f}", "10")


async def rebuild(site: SiteProcess) -> None:
    """The gateway's read model from the first event on."""
    from tests.bench.rebuild import rate  # noqa: PLC0415 - imports the services, which the other benches do not

    del site
    events, seconds = await rate(50_000)
    report(f"rebuild of the read model, events/s ({events} events)", f"{events / seconds:.0f}", "20000")


async def hosts(_: object) -> None:
    """Links of a file host: two hundred at once on five accounts of three slots each, and one that is kept."""
    with Hosts.start() as scripted:
        gator = scripted.host("rapidgator")
        accounts = [gator.add_account(knobs={"rate": hosting.RATE}) for _ in range(5)]
        async with system(workers=4, slots=6) as one:
            await hosting.add(one, gator, accounts)
            key = await one.key("external")
            found = await hosting.storm(one, key, gator, accounts)
            report(
                f"200 links at once, 5 accounts x 3 slots: done in {found.seconds:.1f} s",
                f"{found.done} done",
                "200",
                f"at most {found.peak} of 3 at once on an account; {found.busy:.1f} of 15 slots busy on average;"
                f" charged {found.spent / (200 * hosting.SIZE):.3f} of the sizes",
            )
            kept = gator.add_file("kept.bin", 100_000)
            async with aiohttp.ClientSession(one.url, headers={"X-Api-Key": key}) as http:
                await hosting.fetched(http, kept.url)
            times = await hosting.again(one, key, kept.url)
            report("unrestrict of a kept file, p50 ms", f"{hosting.p50(times) * 1e3:.1f}", "10")


async def upload(site: SiteProcess) -> None:
    """1 GiB into object storage, checked, against the library alone."""
    from tests.bench.upload import IN_MEMORY, turns  # noqa: PLC0415 - imports the services, which most benches do not
    from tests.support.objects.s3 import moto  # noqa: PLC0415 - and the servers of the tests

    del site
    ratios = []
    with moto(**IN_MEMORY) as server, tempfile.TemporaryDirectory(prefix="longshore-bench-") as made:
        async for ours, theirs in turns(server, Path(made)):
            ratios.append(theirs / ours)
            print(f"    1 GiB: {1024 / ours:.0f} MiB/s, the library alone {1024 / theirs:.0f} MiB/s", flush=True)
    ratio = statistics.median(ratios)
    report("1 GiB to S3 against the same library alone, median ratio", f"{ratio:.2f}", "0.85")


async def pages(site: SiteProcess) -> None:
    """Lists when there are a million jobs of one user."""
    from tests.bench.pages import JOBS, administrator, database, fill, measure  # noqa: PLC0415 - as above

    del site
    async with system() as one:
        key = await one.key("jobs")
        conn = await database(one)
        try:
            await fill(conn, await administrator(one))
        finally:
            await conn.close()
        for kind, (p50, p99, longest) in (await measure(one, key)).items():
            report(
                f"a page of {JOBS:,} jobs, {kind}, p99 ms (p50 {p50 * 1e3:.1f}, longest {longest * 1e3:.0f})",
                f"{p99 * 1e3:.1f}",
                "50",
            )


async def many_items(_: object) -> None:
    """A gallery: reports of items in the job service, and the gateway's view of them."""
    count = 20_000
    done = await items.measured(count)
    report(
        f"a job of {count} items: a report at its start; at its end, ms",
        f"{done['first'] * 1e3:.2f}; {done['last'] * 1e3:.2f}",
        "none",
        f"the gateway's view of all {done['view']:.0f} s",
    )


BENCHES: dict[str, Callable[[Any], Awaitable[None]]] = {
    "start": start,
    "memory": memory,
    "accept": accept,
    "bulk": bulk,
    "complete": complete,
    "many": many,
    "big": big,
    "serve": serve,
    "rebuild": rebuild,
    "hosts": hosts,
    "upload": upload,
    "pages": pages,
    "items": many_items,
}


async def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHES)}; all when there is none")
    names = parser.parse_args(arguments).names
    if unknown := set(names) - BENCHES.keys():
        parser.error(f"no bench is called {', '.join(sorted(unknown))}")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )
    with tempfile.TemporaryDirectory() as folder:
        async with SiteProcess.start(Path(folder)) as site:
            for name in names or list(BENCHES):
                await BENCHES[name](site)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
