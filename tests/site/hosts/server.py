"""All scripted hosts of a test process on one local port, in a thread and loop of their own."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import cast, get_args

import msgspec
from aiohttp import web

from tests.site.files import generated
from tests.site.knobs import read_knobs
from tests.site.sending import HIT, error_page, send
from tests.site.server import MediaSite
from tests.support.sure import being

from . import (
    alldebrid,
    debridlink,
    generic,
    keep2share,
    linksnappy,
    nitroflare,
    onefichier,
    premiumize,
    rapidgator,
    realdebrid,
    torbox,
)
from .host import Answer, Ask, Broken, Direct, Fault, Host, Refusal, Speech

SPEECHES: Mapping[str, Speech] = {
    "rapidgator": rapidgator.SPEECH,
    "keep2share": keep2share.SPEECH,
    "1fichier": onefichier.SPEECH,
    "nitroflare": nitroflare.SPEECH,
    "realdebrid": realdebrid.SPEECH,
    "alldebrid": alldebrid.SPEECH,
    "premiumize": premiumize.SPEECH,
    "debridlink": debridlink.SPEECH,
    "torbox": torbox.SPEECH,
    "linksnappy": linksnappy.SPEECH,
    "generic": generic.SPEECH,
}
SAID_INSTEAD: Mapping[Fault, Fault] = {"banned": "offline", "private": "offline", "exhausted": "host_limit"}
"""By platforms that have no words for it."""
START_DEADLINE = 30.0


class Hosts:
    """Every host is a platform of its own, with its own accounts and files, so that tests never meet in one."""

    def __init__(self, site: MediaSite, made: dict[str, Host]) -> None:
        self.site = site
        """Serves the bytes; `site.log` has every request, also of the calls."""
        self._loop = asyncio.get_running_loop()
        self._made = made
        self._numbers = itertools.count(1)

    def host(self, platform: str) -> Host:
        place = f"/hosts/{next(self._numbers)}"
        one = Host(platform, SPEECHES[platform], f"http://127.0.0.1:{self.site.port}", place, self._loop)
        self._made[place] = one
        return one

    def release(self, gate: str) -> None:
        """From whichever thread; the site's own `release` is for its loop."""
        self._loop.call_soon_threadsafe(self.site.release, gate)

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[Hosts]:
        ready: Future[tuple[Hosts, asyncio.Event]] = Future()
        thread = threading.Thread(target=asyncio.run, args=(_serve(cls, ready),), name="hosts", daemon=True)
        thread.start()
        hosts, stop = ready.result(START_DEADLINE)
        try:
            yield hosts
        finally:
            hosts._loop.call_soon_threadsafe(stop.set)
            thread.join(START_DEADLINE)


async def _serve(kind: type[Hosts], ready: Future[tuple[Hosts, asyncio.Event]]) -> None:
    made: dict[str, Host] = {}

    async def answer(request: web.Request) -> web.StreamResponse:
        number, _, path = request.match_info["rest"].partition("/")
        host = made.get(f"/hosts/{number}")
        if host is None:
            return error_page(404)
        if path.startswith("direct/"):
            found = host.direct.get(path.split("/")[1])
            return error_page(404) if found is None or not found.good else await _bytes(request, found)
        return await _call(host, request, path)

    stop = asyncio.Event()
    try:
        async with MediaSite.start(routes=[web.route("*", "/hosts/{rest:.*}", answer)]) as site:
            ready.set_result((kind(site, made), stop))
            await stop.wait()
    except OSError as error:
        ready.set_exception(error)


async def _call(host: Host, request: web.Request, path: str) -> web.StreamResponse:
    calls = host.speech.calls
    known = calls.get(path) or calls.get(path.split("/", maxsplit=1)[0] + "/")
    kind, handler = known or ("", None)
    ask = await _read(request, path)
    await host.arrived(kind, ask)
    what = host.scripted(kind)
    if isinstance(what, Answer):
        return web.Response(status=what.status, body=what.body, headers={"Content-Type": what.type, **what.headers})
    if isinstance(what, str):
        if what in get_args(Broken):
            return _broken(request, cast("Broken", what))
        return host.speech.refuse(cast("Fault", what))
    if handler is None:
        return error_page(404)
    try:
        answer = handler(host, ask)
    except Refusal as refusal:
        worded = refusal.fault in host.speech.faults
        return host.speech.refuse(refusal.fault if worded else SAID_INSTEAD.get(refusal.fault, "unknown"))
    if isinstance(answer, Direct):
        return await _bytes(request, answer)
    if what is not None and isinstance(answer.body, bytes):
        answer.body = what(answer.body)
    return answer


async def _read(request: web.Request, path: str) -> Ask:
    fields: dict[str, list[str]] = {}
    form = {} if request.content_type == "application/json" else await request.post()
    json = msgspec.json.decode(await request.read()) if request.content_type == "application/json" else None
    for source in (request.query, form):
        for name, value in source.items():
            fields.setdefault(name, []).append(
                value if isinstance(value, str) else being(web.FileField, value).file.read().decode()
            )
    return Ask(
        method=request.method,
        path=path,
        fields=fields,
        json=json,
        headers=request.headers,
        cookies=dict(request.cookies),
    )


BODIES = {
    "truncated": b'{"status": 200, "respo',
    "list": b'[1, "two", [3]]',
    "missing": b"{}",
    "huge": b'{"padding": "' + b"x" * (2 << 20) + b'"}',
}


def _broken(request: web.Request, what: str) -> web.Response:
    if what in BODIES:
        return web.Response(body=BODIES[what], content_type="application/json")
    match what:
        case "html":
            return web.Response(text="<!doctype html><title>Just a moment...</title>", content_type="text/html")
        case "http_500":
            return error_page(500)
        case "redirect":
            return web.Response(status=302, headers={"Location": "https://elsewhere.test/login"})
    if request.transport:
        request.transport.abort()
    return web.Response()


async def _bytes(request: web.Request, found: Direct) -> web.StreamResponse:
    file, account = found.file, found.account
    found.brought.append(request.headers.copy())
    knobs = read_knobs({name: str(value) for name, value in (file.knobs | account.knobs).items()})
    account.connections += 1
    account.peak = max(account.peak, account.connections)
    try:
        return await send(request, knobs, lambda version: generated(file.size, file.name, version))
    finally:
        account.connections -= 1
        account.served += request[HIT].sent
