"""Answers a request for one source of bytes as its knobs say."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable

import msgspec
from aiohttp import web

from .gates import Gates
from .hits import Hit, Log
from .knobs import Counts, Knobs
from .pouring import Outlet, Source, cut, pour
from .ranges import Unsatisfiable, asked_range

MODIFIED = "Fri, 02 Jan 2026 03:04:05 GMT"
LIE = {"wrong": 1000, "short": -1000}


class State(msgspec.Struct, frozen=True, kw_only=True):
    log: Log
    gates: Gates
    counts: Counts


STATE: web.AppKey[State] = web.AppKey("state", State)
HIT: web.RequestKey[Hit] = web.RequestKey("hit", Hit)


def error_page(status: int, *, headers: dict[str, str] | None = None) -> web.Response:
    text = f"<!doctype html><title>{status}</title><h1>{status}</h1><p>This is not the file you came for.</p>"
    return web.Response(status=status, text=text, content_type="text/html", headers=headers)


async def send(
    request: web.Request, knobs: Knobs, source: Callable[[int], Source], *, disposition: str = ""
) -> web.StreamResponse:
    """`source(version)`: version 1 is the file, later ones are asked for only with `etag=changing`."""
    state, address = request.app[STATE], request.path_qs
    state.counts.asked[address] += 1
    asked = state.counts.asked[address]
    if knobs.gate and knobs.gate_at == "head":
        await state.gates.hold(knobs.gate)
    if refusal := _refused(request, knobs, asked):
        return refusal
    file = source(1 + state.counts.broken[address] if knobs.etag == "changing" else 1)
    etag = _etag(file.tag, knobs, asked)
    headers = {"Content-Type": knobs.type or file.type}
    if etag:
        headers |= {"ETag": etag, "Last-Modified": MODIFIED}
    if disposition:
        headers["Content-Disposition"] = disposition
    span = None
    if knobs.ranges:
        headers["Accept-Ranges"] = "bytes"
        asked_for, unless = request.headers.get("Range"), request.headers.get("If-Range")
        try:
            span = asked_range(asked_for, unless, size=file.size, etag=etag)
        except Unsatisfiable:
            return error_page(416, headers={"Content-Range": f"bytes */{file.size}"})
    if span:
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{file.size}"
    response = web.StreamResponse(status=206 if span else 200, headers=headers)
    return await _respond(request, response, knobs, file, span or range(file.size))


def _refused(request: web.Request, knobs: Knobs, asked: int) -> web.Response | None:
    if knobs.auth and request.headers.get("Authorization") != f"Basic {b64encode(knobs.auth.encode()).decode()}":
        return error_page(401, headers={"WWW-Authenticate": 'Basic realm="site"'})
    if knobs.cookie:
        name, _, value = knobs.cookie.partition(":")
        if request.cookies.get(name) != value:
            return error_page(403)
    status = knobs.fail or knobs.status
    if status and (knobs.times is None or asked <= knobs.times):
        return error_page(status, headers={} if knobs.retry_after is None else {"Retry-After": str(knobs.retry_after)})
    return error_page(knobs.then) if knobs.then and asked > 1 else None


def _etag(tag: str, knobs: Knobs, asked: int) -> str | None:
    match knobs.etag:
        case "none":
            return None
        case "weak":
            return f'W/"{tag}"'
        case "always":
            return f'"{tag}-{asked}"'
        case "strong" | "changing":
            return f'"{tag}"'


async def _respond(
    request: web.Request, response: web.StreamResponse, knobs: Knobs, file: Source, span: range
) -> web.StreamResponse:
    state, hit, address = request.app[STATE], request[HIT], request.path_qs
    start, stop = span.start, span.stop
    if knobs.length != "none":
        response.content_length = max(0, len(span) + LIE.get(knobs.length, 0))
    if knobs.length == "wrong":
        response.force_close()
    if knobs.length == "short":
        stop = max(start, stop - 1000)
    hit.status = response.status
    writer = await response.prepare(request)
    if writer is None or request.method == "HEAD":
        return response
    if request.transport:
        request.transport.set_write_buffer_limits(high=0)  # so that a drained writer means: with the kernel
    breaks = _breaks(knobs, state.counts, address, stop - start)
    stop = start + knobs.cut if breaks and knobs.cut is not None else stop
    held_at = _held_at(knobs, file.size, start, stop)
    outlet = Outlet(request=request, writer=writer, hit=hit, log=state.log, rate=knobs.rate)
    try:
        if knobs.gate and held_at is not None:
            await pour(outlet, file, start, held_at)
            await state.gates.hold(knobs.gate)
            start = held_at
        await pour(outlet, file, start, stop)
    except (ConnectionError, asyncio.CancelledError):
        state.counts.broken[address] += 1
        raise
    if breaks:
        hit.ended = "cut"
        state.counts.broken[address] += 1
        await cut(request, knobs.cut_how)
    return response


def _breaks(knobs: Knobs, counts: Counts, address: str, length: int) -> bool:
    if knobs.cut is None or knobs.cut >= length or (knobs.cut_times and counts.cut[address] >= knobs.cut_times):
        return False
    counts.cut[address] += 1
    return True


def _held_at(knobs: Knobs, size: int, start: int, stop: int) -> int | None:
    if knobs.gate is None or knobs.gate_at == "head":
        return None
    at = size // 2 if knobs.gate_at is None else knobs.gate_at
    return at if start < at <= stop or at == start == 0 else None
