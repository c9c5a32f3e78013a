"""Plain files of any size, redirects, status pages, and things that are not what they seem.

`/file/<size>/<name>` takes every knob of knobs.py; `sha256(size, name)` is what must arrive.
`/endless/<name>` never ends (knobs too; always chunked and without ranges).
`/redirect?to=URL[&status=302][&hops=0]` leads there after `hops` redirects more; any address, also a private one.
`/status/<code>` is an HTML error page; 401 asks for Basic credentials.
`/html/<name>` answers 200 with an HTML page, whatever the name promises.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import msgspec
from aiohttp import web

from .content import content
from .knobs import read_knobs
from .pouring import Source
from .sending import error_page, send

HOSTILE_NAMES: Mapping[str, str] = {
    "traversal": "../../etc/passwd",
    "absolute": "/etc/passwd",
    "windows": "..\\..\\windows\\win.ini",
    "drive": "C:\\evil.txt",
    "device": "CON.txt",
    "crlf": "a\r\nb",
    "nul": "a\0b.bin",
    "long": "n" * 3000 + ".bin",
    "long-unicode": "名" * 300 + ".bin",
    "unicode": "Größe 大きさ.bin",
    "bidi": "photo\u202egnp.exe",
    "dot": ".",
    "dots": "..",
    "hidden": ".bashrc",
    "spaces": "  .  ",
    "empty": "",
    "dash": "-rf.bin",
    "quotes": "a\";b='c'.bin",
    "percent": "%2e%2e%2fetc%2fpasswd",
}
"""KIND of `disposition=KIND` to the name claimed: percent-encoded (`filename*`), and as it is if printable ASCII."""

ENDLESS = 1 << 60


def disposition(kind: str | None) -> str:
    if kind is None:
        return ""
    name = HOSTILE_NAMES.get(kind, kind)
    plain = f'filename="{name}"; ' if name.isascii() and name.isprintable() and '"' not in name else ""
    return f"attachment; {plain}filename*=UTF-8''{quote(name, safe='')}"


def generated(size: int, name: str, version: int) -> Source:
    return Source(
        size=size,
        tag=f"{size}-{quote(name, safe='')[:100]}-{version}",
        type=mimetypes.guess_type(name)[0] or "application/octet-stream",
        read=lambda start, stop: content(name, start, stop, version=version),
    )


async def file(request: web.Request) -> web.StreamResponse:
    size, name, knobs = int(request.match_info["size"]), request.match_info["name"], read_knobs(request.query)
    return await send(
        request, knobs, lambda version: generated(size, name, version), disposition=disposition(knobs.disposition)
    )


async def endless(request: web.Request) -> web.StreamResponse:
    knobs = msgspec.structs.replace(read_knobs(request.query), length="none", ranges=False)
    return await send(request, knobs, lambda version: generated(ENDLESS, request.match_info["name"], version))


async def redirect(request: web.Request) -> web.Response:
    query = dict(request.query)
    to, status, hops = query["to"], int(query.get("status", 302)), int(query.get("hops", 0))
    if hops:
        to = f"{request.path}?" + urlencode({"to": to, "status": status, "hops": hops - 1})
    return web.Response(status=status, headers={"Location": to})


async def status(request: web.Request) -> web.Response:
    code = int(request.match_info["code"])
    return error_page(code, headers={"WWW-Authenticate": 'Basic realm="site"'} if code == 401 else None)


async def html(_: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><title>Limit</title><p>Download limit reached.", content_type="text/html")


ROUTES = [
    web.get(r"/file/{size:\d+}/{name}", file),
    web.get("/endless/{name}", endless),
    web.get("/redirect", redirect),
    web.get(r"/status/{code:\d{3}}", status),
    web.get("/html/{name}", html),
]
