"""Streams that go on: `/live/endless.m3u8` has the clip's four pieces once more with every look, and is never over;
`/live/ending.m3u8` has them once, and says from the seventh look on that it is over: two seconds in all.

They take the knobs of knobs.py: `fail=404&times=2` is a stream that has not begun.
"""

from __future__ import annotations

from aiohttp import web

from .media import library
from .sending import STATE
from .video import send_page

LOOKS = 6
HEAD = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n"


def pieces() -> str:
    lines = library()["clip.m3u8"].body.decode().splitlines()
    kept = [line for line in lines if not line.startswith("#") or line.startswith("#EXTINF")]
    return "\n".join(line if line.startswith("#") else f"/hls/{line}" for line in kept) + "\n"


async def stream(request: web.Request) -> web.StreamResponse:
    looks = request.app[STATE].counts.asked[request.path_qs]  # counted by send_page
    if request.match_info["kind"] == "endless":
        text = HEAD + "#EXT-X-DISCONTINUITY\n".join([pieces()] * (looks + 1))
    else:
        text = HEAD + pieces() + ("#EXT-X-ENDLIST\n" if looks >= LOOKS else "")
    return await send_page(request, text, type="application/vnd.apple.mpegurl")


ROUTES = [web.get("/live/{kind:endless|ending}.m3u8", stream)]
