"""Videos: direct files, HLS, DASH, pages that embed them, and a feed.

`/video/clip.mp4`, `/video/second.mp4`, `/audio/tone.mp3`, `/picture/photo.jpg`: every knob of knobs.py.
`/hls/clip.m3u8` (four segments), `/hls/master.m3u8` (one variant), `/dash/clip.mpd` (picture and sound apart).
`/watch/embed` (<video src>), `/watch/sources` (HLS and mp4 of one video), `/watch/og` (og:video), `/watch/jsonld`,
`/watch/two` (two videos: a playlist), `/watch/nothing` (a page without any), `/feed.rss` (two enclosures).

A page, manifest or feed takes `media=<query string>`: the knobs that the addresses in it carry. It takes the knobs of
knobs.py for itself as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape

import msgspec
from aiohttp import web

from .knobs import read_knobs
from .media import Media, library
from .pouring import Source
from .sending import send


def stored(media: Media, version: int) -> Source:
    """A replaced file (`etag=changing`) has another ETag but the same bytes here."""
    return Source(
        size=media.size,
        tag=f"{media.sha256[:16]}-{version}",
        type=media.type,
        read=lambda start, stop: media.body[start:stop],
    )


async def media_file(request: web.Request) -> web.StreamResponse:
    media = library().get(request.match_info["name"])
    if media is None:
        raise web.HTTPNotFound
    return await send(request, read_knobs(request.query), lambda version: stored(media, version))


async def send_page(request: web.Request, text: str, *, type: str = "text/html; charset=utf-8") -> web.StreamResponse:
    query = {knob: value for knob, value in request.query.items() if knob != "media"}
    body = text.encode()
    knobs = read_knobs({"etag": "none", "ranges": "0", **query})
    return await send(
        request,
        knobs,
        lambda _: Source(size=len(body), tag="", type=type, read=lambda start, stop: body[start:stop]),
    )


def address_of(request: web.Request) -> Callable[[str], str]:
    """From path to absolute address on the host the client used, with the `media` knobs."""
    knobs = request.query.get("media", "")
    return lambda path: f"{request.url.origin()}{path}" + (f"?{knobs}" if knobs else "")


async def hls(request: web.Request) -> web.StreamResponse:
    knobs = request.query.get("media", "")
    whole = library()["clip.m3u8"].body.decode().replace("TARGETDURATION:0", "TARGETDURATION:1")
    lines = whole.splitlines()
    text = "\n".join(f"{line}?{knobs}" if knobs and not line.startswith("#") else line for line in lines)
    return await send_page(request, text + "\n", type="application/vnd.apple.mpegurl")


async def hls_master(request: web.Request) -> web.StreamResponse:
    variant = "clip.m3u8" + (f"?{request.query_string}" if request.query_string else "")
    text = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=450000,RESOLUTION=320x180\n{variant}\n"
    return await send_page(request, text, type="application/vnd.apple.mpegurl")


async def dash(request: web.Request) -> web.StreamResponse:
    knobs = request.query.get("media", "")
    text = library()["clip.mpd"].body.decode()
    if knobs:
        text = text.replace('.m4s"', f'.m4s?{escape(knobs)}"')
    return await send_page(request, text, type="application/dash+xml")


def _page(title: str, head: str, body: str) -> str:
    return f"<!doctype html><html><head><title>{title}</title>{head}</head><body>{body}</body></html>"


def _embed(at: Callable[[str], str]) -> str:
    return _page("Embedded clip", "", f'<video src="{escape(at("/video/clip.mp4"))}" controls></video>')


def _sources(at: Callable[[str], str]) -> str:
    sources = (("/hls/clip.m3u8", "application/x-mpegURL"), ("/video/clip.mp4", "video/mp4"))
    tags = "".join(f'<source src="{escape(at(path))}" type="{kind}">' for path, kind in sources)
    return _page("Two sources", "", f"<video>{tags}</video>")


def _og(at: Callable[[str], str]) -> str:
    head = (
        '<meta property="og:title" content="Open graph clip"><meta property="og:type" content="video.other">'
        f'<meta property="og:video" content="{escape(at("/video/clip.mp4"))}">'
        '<meta property="og:video:type" content="video/mp4">'
    )
    return _page("Open graph page", head, "<p>Nothing to see.</p>")


def _jsonld(at: Callable[[str], str]) -> str:
    about = {
        "@context": "https://schema.org",
        "@type": "VideoObject",
        "name": "Linked data clip",
        "contentUrl": at("/video/clip.mp4"),
        "duration": "PT2S",
        "description": "What it is about.",
        "uploadDate": "2026-01-31",
    }
    return _page("Linked data page", f'<script type="application/ld+json">{json.dumps(about)}</script>', "")


def _two(at: Callable[[str], str]) -> str:
    paths = ("/video/clip.mp4", "/video/second.mp4")
    return _page("Two clips", "", "".join(f'<video src="{escape(at(path))}"></video>' for path in paths))


def _nothing(_: Callable[[str], str]) -> str:
    return _page("Nothing", "", "<p>No video here.</p>")


PAGES = {
    "embed": _embed,
    "sources": _sources,
    "og": _og,
    "jsonld": _jsonld,
    "two": _two,
    "nothing": _nothing,
}


async def watch(request: web.Request) -> web.StreamResponse:
    page = PAGES.get(request.match_info["page"])
    if page is None:
        raise web.HTTPNotFound
    return await send_page(request, page(address_of(request)))


class Item(msgspec.Struct, frozen=True):
    title: str
    path: str
    type: str


FEED = (Item("First item", "/video/clip.mp4", "video/mp4"), Item("Second item", "/audio/tone.mp3", "audio/mpeg"))


async def feed(request: web.Request) -> web.StreamResponse:
    at = address_of(request)
    items = "".join(
        f"<item><title>{item.title}</title><guid>{item.path}</guid><pubDate>Fri, 02 Jan 2026 03:04:05 GMT</pubDate>"
        f'<enclosure url="{escape(at(item.path))}" type="{item.type}" length="{_size(item.path)}"/></item>'
        for item in FEED
    )
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"><channel><title>Site feed</title>'
        f"<link>{request.url.origin()}</link><description>Two items</description>{items}</channel></rss>"
    )
    return await send_page(request, text, type="application/rss+xml")


def _size(path: str) -> int:
    return library()[path.rpartition("/")[2]].size


ROUTES = [
    web.get("/video/{name}", media_file),
    web.get("/audio/{name}", media_file),
    web.get("/picture/{name}", media_file),
    web.get("/hls/clip.m3u8", hls),
    web.get("/hls/master.m3u8", hls_master),
    web.get("/hls/{name}", media_file),
    web.get("/dash/clip.mpd", dash),
    web.get("/dash/{name}", media_file),
    web.get("/watch/{page}", watch),
    web.get("/feed.rss", feed),
]
