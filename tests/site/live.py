"""Streams that go on: `/live/endless.m3u8` has the clip's four pieces and never says that it is over;
`/live/ending.m3u8` says so from the seventh look on. Two seconds can be had of either.

They take the knobs of knobs.py: `fail=404&times=2` is a stream that has not begun.
"""

from __future__ import annotations

from aiohttp import web

from .media import library
from .sending import STATE
from .video import send_page

LOOKS = 6


async def stream(request: web.Request) -> web.StreamResponse:
    looks = request.app[STATE].counts.asked[request.path_qs]  # counted by send_page
    ending = request.match_info["kind"] == "ending"
    lines = library()["clip.m3u8"].body.decode().replace("TARGETDURATION:0", "TARGETDURATION:1").splitlines()
    kept = [line for line in lines if not line.startswith(("#EXT-X-PLAYLIST-TYPE", "#EXT-X-ENDLIST"))]
    text = "\n".join(line if line.startswith("#") else f"/hls/{line}" for line in kept) + "\n"
    if ending and looks >= LOOKS:
        text += "#EXT-X-ENDLIST\n"
    return await send_page(request, text, type="application/vnd.apple.mpegurl")


ROUTES = [web.get("/live/{kind:endless|ending}.m3u8", stream)]
