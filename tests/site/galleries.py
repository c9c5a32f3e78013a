"""Galleries in the forms real instances have: a Mastodon, a moebooru and a vichan.

Mastodon: `/@alice` (three posts, five media: png, png, jpg, mp4, png) and one post `/@alice/77`; `/@empty` has none;
`/@many-<n>` has n posts of one picture, in pages of 40; `/@held-<gate>` has alice's posts, and each of its media after
the first is held at the gate (before the first byte).
Booru: `/post?tags=cat` (three pictures), `tags=many_<n>` (n pictures, paged), `tags=held_<gate>`; others are empty.
Chan: `/b/res/1.html` (three posts, three files) and the board `/b/`.
`/art/<seed>.png` is the picture `png(seed)`; it takes the knobs of knobs.py, as everything here does that is a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec
from aiohttp import web

from .content import png
from .knobs import read_knobs
from .media import library
from .pouring import Source
from .sending import send
from .video import send_page, stored

CREATED = "2026-01-02T03:04:05.000Z"
CREATED_UNIX = 1767323045
PAGE = 40
MEDIA = {
    "77": ("/art/alice-1.png", "/art/alice-2.png"),
    "78": ("/picture/photo.jpg",),
    "79": ("/video/clip.mp4", "/art/alice-3.png"),
}


def picture(seed: str, version: int) -> Source:
    body = png(seed)
    tag = f"{hashlib.sha256(body).hexdigest()[:16]}-{version}"
    return Source(size=len(body), tag=tag, type="image/png", read=lambda start, stop: body[start:stop])


async def art(request: web.Request) -> web.StreamResponse:
    seed = request.match_info["seed"]
    return await send(request, read_knobs(request.query), lambda version: picture(seed, version))


class Status(msgspec.Struct, frozen=True):
    id: str
    paths: tuple[str, ...]


def statuses_of(account: str) -> list[Status] | None:
    """Newest first, as Mastodon lists them; None for an account that does not exist."""
    kind, _, argument = account.partition("-")
    match kind, argument:
        case "alice", "":
            return [Status(id, MEDIA[id]) for id in sorted(MEDIA, reverse=True)]
        case "empty", "":
            return []
        case "many", count if count.isdigit():
            return [Status(str(1000 + n), (f"/art/{account}-{n}.png",)) for n in range(int(count), 0, -1)]
        case "held", gate if gate:
            return list(_held(gate))
    return None


def _held(gate: str) -> Iterator[Status]:
    first = True
    for id in sorted(MEDIA, reverse=True):
        paths = [path if first and not n else f"{path}?gate={gate}&gate_at=0" for n, path in enumerate(MEDIA[id])]
        first = False
        yield Status(id, tuple(paths))


def _status(request: web.Request, account: str, status: Status) -> dict[str, object]:
    origin = str(request.url.origin())
    return {
        "id": status.id,
        "uri": f"{origin}/@{account}/{status.id}",
        "url": f"{origin}/@{account}/{status.id}",
        "reblog": None,
        "in_reply_to_id": None,
        "account": {"id": account, "acct": account, "username": account, "display_name": account.title()},
        "content": "<p>Look at this</p>",
        "tags": [{"name": "site"}],
        "created_at": CREATED,
        "media_attachments": [
            {"id": f"{status.id}{n}", "type": "image", "url": origin + path} for n, path in enumerate(status.paths, 1)
        ],
    }


async def mastodon_page(request: web.Request) -> web.StreamResponse:
    account = request.match_info["account"]
    if statuses_of(account) is None:
        raise web.HTTPNotFound
    return await send_page(request, f"<!doctype html><title>{account} - Mastodon</title><div id=mastodon></div>")


async def mastodon_lookup(request: web.Request) -> web.Response:
    account = request.query["acct"].partition("@")[0]
    if statuses_of(account) is None:
        return web.json_response({"error": "Record not found"}, status=404)
    return web.json_response({"id": account, "acct": account, "username": account})


async def mastodon_statuses(request: web.Request) -> web.Response:
    account, origin = request.match_info["id"], request.url.origin()
    statuses = statuses_of(account)
    if statuses is None:
        return web.json_response({"error": "Record not found"}, status=404)
    before = int(request.query.get("max_id", 1 << 60))
    page = [status for status in statuses if int(status.id) < before][:PAGE]
    headers = {}
    if page and page[-1] != statuses[-1]:
        query = request.rel_url.update_query(max_id=page[-1].id)
        headers["Link"] = f'<{origin}{query}>; rel="next"'
    return web.json_response([_status(request, account, status) for status in page], headers=headers)


async def mastodon_status(request: web.Request) -> web.Response:
    id = request.match_info["id"]
    if id not in MEDIA:
        return web.json_response({"error": "Record not found"}, status=404)
    return web.json_response(_status(request, "alice", Status(id, MEDIA[id])))


def tagged(tags: str) -> tuple[int, str]:
    """How many pictures a tag has, and the query of their addresses."""
    kind, _, argument = tags.strip().partition("_")
    match kind, argument:
        case "cat", "":
            return 3, ""
        case "many", count if count.isdigit():
            return int(count), ""
        case "held", gate if gate:
            return 3, f"?gate={gate}&gate_at=0"
    return 0, ""


async def booru_posts(request: web.Request) -> web.Response:
    tags, page = request.query.get("tags", ""), int(request.query.get("page", 1))
    limit = min(int(request.query.get("limit", 40)), 1000)
    count, query = tagged(tags)
    origin = request.url.origin()
    numbers = range(count, 0, -1)[(page - 1) * limit : page * limit]
    return web.json_response(
        [
            {
                "id": number,
                "md5": hashlib.md5(png(f"{tags}-{number}"), usedforsecurity=False).hexdigest(),
                "tags": f"{tags} site",
                "created_at": CREATED_UNIX + number,
                "rating": "s",
                "file_url": f"{origin}/art/{tags}-{number}.png" + (query if number < count else ""),
            }
            for number in numbers
        ]
    )


async def booru_page(request: web.Request) -> web.StreamResponse:
    return await send_page(request, "<!doctype html><title>Posts</title><ul id=post-list></ul>")


TIMS = {"1767323045001": ".png", "1767323045002": ".jpg", "1767323045003": ".png"}
POSTS = [
    {
        "no": number,
        "resto": min(1, number - 1),
        "com": "Look at this",
        "time": CREATED_UNIX + number,
        "filename": f"picture {number}",
        "ext": ext,
        "tim": tim,
    }
    for number, (tim, ext) in enumerate(TIMS.items(), 1)
]
POSTS[0]["sub"] = "Harbour pictures"


async def chan_thread(_: web.Request) -> web.Response:
    return web.json_response({"posts": POSTS})


async def chan_threads(_: web.Request) -> web.Response:
    return web.json_response([{"page": 0, "threads": [{"no": 1, "last_modified": CREATED_UNIX}]}])


async def chan_page(request: web.Request) -> web.StreamResponse:
    return await send_page(request, "<!doctype html><title>/b/ - Harbour pictures</title>")


async def chan_file(request: web.Request) -> web.StreamResponse:
    tim, ext = request.match_info["tim"], request.match_info["ext"]
    if TIMS.get(tim) != ext:
        raise web.HTTPNotFound
    knobs, photo = read_knobs(request.query), library()["photo.jpg"]
    return await send(
        request, knobs, lambda version: picture(tim, version) if ext == ".png" else stored(photo, version)
    )


ROUTES = [
    web.get("/art/{seed}.png", art),
    web.get("/@{account}", mastodon_page),
    web.get(r"/@{account}/{id:\d+}", mastodon_page),
    web.get("/api/v1/accounts/lookup", mastodon_lookup),
    web.get("/api/v1/accounts/{id}/statuses", mastodon_statuses),
    web.get("/api/v1/statuses/{id}", mastodon_status),
    web.get("/post", booru_page),
    web.get("/post.json", booru_posts),
    web.get("/b/", chan_page),
    web.get("/b/res/1.html", chan_page),
    web.get("/b/res/1.json", chan_thread),
    web.get("/b/threads.json", chan_threads),
    web.get(r"/b/src/{tim:\d+}{ext:\.\w+}", chan_file),
]
