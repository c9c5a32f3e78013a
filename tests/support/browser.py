"""A page in a real browser, on an origin of its own, that calls what it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.support.programs import program

PATIENCE = 60.0
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
REFUSED = None
"""What a page gets of an answer that the browser keeps from it, or of a request that is not even sent."""

_PAGE = """<!doctype html><script type="module">
const results = [];
for (const [url, method, headers, body] of %s) {
  try {
    const answer = await fetch(url, { method, headers, body });
    results.push([answer.status, await answer.json()]);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    results.push(null);
  }
}
await fetch("/results", { method: "POST", body: JSON.stringify(results) });
</script>"""

Call = tuple[str, str, dict[str, str], str | None]
"""Address, method, headers, body."""


async def called_from_a_page(calls: list[Call], folder: Path) -> list[Any]:
    """(status, decoded body) or REFUSED for each, one after the other. The page's origin is another site's."""
    results: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=_PAGE % json.dumps(calls), content_type="text/html")

    async def take(request: web.Request) -> web.Response:
        results.set_result(await request.json())
        return web.Response()

    app = web.Application(client_max_size=16 << 20)
    app.add_routes([web.get("/", page), web.post("/results", take)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        # To a browser, localhost is another site than 127.0.0.1, where everything else is.
        address = f"http://localhost:{runner.addresses[0][1]}/"
        chromium = await asyncio.create_subprocess_exec(
            program("chromium"), *OPTIONS, f"--user-data-dir={folder / 'profile'}", address,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE):
                return await results
        finally:
            os.killpg(chromium.pid, signal.SIGKILL)
            await chromium.wait()
    finally:
        await runner.cleanup()
