"""What a stored file is fetched with per second, from us and from nginx with sendfile, in turn.

The client reads into one buffer and throws it away, in a process of its own: `python -m tests.bench.serving`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from libs.message import new_id
from proto.unrestrict_proxy import AddHostAccount
from services.operate import connect
from tests.bench.system import System
from tests.site.hosts import Hosts

BUFFER = 1 << 20

CONFIG = """
worker_processes 1;
daemon off;
error_log {folder}/error.log;
pid {folder}/pid;
{user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@contextmanager
def nginx(folder: Path, root: Path) -> Iterator[str]:
    """Serves what is below `root`; everything else that it writes is in `folder`."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise SystemExit("nginx is not installed: apt-get install nginx-light")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(CONFIG.format(folder=folder, root=root, port=port, user=user))
    process = subprocess.Popen([program, "-c", config, "-p", folder, "-e", folder / "error.log"])
    try:
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)  # the interval of a probe
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def fetched(url: str, size: int, connections: int) -> float:
    """Seconds for the whole file, in equal ranges at once; run in a process of its own."""
    task = json.dumps({"url": url, "size": size, "connections": connections})
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.serving"], input=task, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


class Linked(NamedTuple):
    """A file host's file that is kept: its public link, our address of it, where it lies, and a key to ask with."""

    url: str
    link: str
    path: Path
    key: str


@asynccontextmanager
async def linked(one: System, size: int) -> AsyncIterator[Linked]:
    with Hosts.start() as hosts:
        host = hosts.host("rapidgator")
        account, file = host.add_account(), host.add_file("big.mkv", size)
        async with connect(argparse.Namespace(data=one.folder), {}) as (_, caller):
            await caller.command(
                AddHostAccount(
                    account_id=new_id(),
                    platform="rapidgator",
                    username=account.username,
                    secret=account.secret,
                    base_url=host.base_url,
                )
            )
        key = await one.key("external")
        async with aiohttp.ClientSession(f"{one.url}/api/external/v1/", headers={"X-Api-Key": key}) as session:
            until = time.monotonic() + 120
            while True:
                async with session.post("unrestrict", json={"url": file.url}) as answer:
                    shown = await answer.json()
                if shown.get("data", {}).get("download_ready"):
                    break
                if time.monotonic() > until:
                    raise SystemExit(f"not ready: {shown}")
                await asyncio.sleep(0.2)  # the interval of a polling client
        [path] = (one.folder / "files").rglob("big.mkv")
        yield Linked(file.url, shown["data"]["link"], path, key)


def _part(url: str, first: int, last: int, failures: list[str]) -> None:
    at = urlsplit(url)
    asked = f"GET {at.path} HTTP/1.1\r\nHost: {at.netloc}\r\nRange: bytes={first}-{last}\r\nConnection: close\r\n\r\n"
    buffer = memoryview(bytearray(BUFFER))
    with socket.create_connection((at.hostname, at.port)) as connection:
        connection.sendall(asked.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        left = last - first + 1 - len(head.partition(b"\r\n\r\n")[2])
        while left > 0 and (count := connection.recv_into(buffer)):
            left -= count
    if left or b" 206 " not in head[:20]:
        failures.append(f"{head[:60]!r}, {left} bytes short")


def main() -> None:
    task: dict[str, Any] = json.load(sys.stdin)
    step = -(-task["size"] // task["connections"])
    failures: list[str] = []
    threads = [
        threading.Thread(target=_part, args=(task["url"], first, min(first + step, task["size"]) - 1, failures))
        for first in range(0, task["size"], step)
    ]
    began = time.perf_counter()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    took = time.perf_counter() - began
    if failures:
        raise SystemExit("; ".join(failures))
    print(took)


if __name__ == "__main__":
    main()
