"""A load generator: keep-alive connections that do as little as can be done in Python. Runs in a process of its own, as
`python -m tests.bench.load`, so that it does not share an interpreter with what it measures."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

import uvloop


async def connection(host: str, port: int, requests: list[bytes], latencies: list[float]) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    while requests:
        request = requests.pop()
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lowered = head.lower()
        length = int(lowered.split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        latencies.append(time.perf_counter() - started)
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            raise SystemExit(f"unexpected answer: {head[:60]!r}")
    writer.close()


def build(host: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{lines}Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def main() -> None:
    """One JSON object on stdin (host, port, path, headers, bodies, connections), one on stdout (rate, p50, p99)."""
    task = json.load(sys.stdin)
    requests = [build(task["host"], task["path"], task["headers"], body.encode()) for body in task["bodies"]]
    latencies: list[float] = []
    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(task["connections"]):
            tasks.create_task(connection(task["host"], task["port"], requests, latencies))
    elapsed = time.perf_counter() - started
    latencies.sort()
    print(
        json.dumps(
            {
                "rate": len(latencies) / elapsed,
                "p50": statistics.median(latencies),
                "p99": latencies[int(len(latencies) * 0.99)],
            }
        )
    )


if __name__ == "__main__":
    uvloop.run(main())
