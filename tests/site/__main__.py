"""`python -m tests.site --port 0 --log FILE`: prints {"port": N} when it listens, ends with SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import msgspec

from .server import MediaSite


async def serve(port: int, log: Path | None, *, until_eof: bool) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    if until_eof:
        loop.add_reader(sys.stdin.fileno(), over.set)
    async with MediaSite.start(port=port, log=log) as site:
        print(msgspec.json.encode({"port": site.port}).decode(), flush=True)
        await over.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.site", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, help="a JSON line is appended for every arrival and end")
    parser.add_argument("--until-eof", action="store_true", help="end with stdin, so that no parent leaves it behind")
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.log, until_eof=given.until_eof))


if __name__ == "__main__":
    main()
