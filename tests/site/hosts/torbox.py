"""TorBox's interface, version 1: a bearer key, a fetch to its own servers first, refusals even with HTTP's 200."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiohttp import web

from .host import Ask, Fault, Host, Speech

WORDS: dict[Fault, tuple[int, str, str]] = {
    "wrong_login": (403, "BAD_TOKEN", "The token is not valid."),
    "frozen": (403, "ACCOUNT_BANNED", "This account is banned."),
    "not_premium": (403, "PLAN_RESTRICTED_FEATURE", "Your plan does not have this."),
    "exhausted": (200, "MONTHLY_LIMIT", "The limit of the month is reached."),
    "slots": (200, "ACTIVE_LIMIT", "Too many active downloads."),
    "flood": (429, "TOO_MANY_REQUESTS", "Too many requests."),
    "maintenance": (503, "MAINTENANCE", "We are under maintenance."),
    "unsupported": (200, "UNSUPPORTED_SITE", "This site is not supported."),
    "offline": (200, "LINK_OFFLINE", "The link is offline."),
    "banned": (200, "DOWNLOAD_REFUSED", "Removed after a DMCA notice."),
    "password": (200, "WRONG_PASSWORD", "The password is wrong."),
    "later": (500, "DOWNLOAD_SERVER_ERROR", "The download server made a mistake."),
    "unknown": (418, "TEAPOT_ERROR", "The box is full of tea."),
}


def refuse(fault: Fault) -> web.Response:
    status, error, detail = WORDS[fault]
    body = {"success": False, "error": error, "detail": detail, "data": None}
    return web.json_response(body, status=status)


def _well(data: Any) -> web.Response:
    return web.json_response({"success": True, "error": None, "detail": "Done.", "data": data})


def me(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.bearer)
    until = datetime.fromtimestamp(account.premium_until, UTC)
    user = {"email": account.username, "plan": 2 if account.premium else 0, "cooldown_until": None}
    return _well(user | {"premium_expires_at": f"{until:%Y-%m-%dT%H:%M:%SZ}"})


def hosters(host: Host, ask: Ask) -> web.Response:
    return _well(
        [
            {"name": "Rapidgator", "domains": ["rapidgator.net", "rg.to"], "status": True, "daily_link_limit": 0},
            {"name": "Nitroflare", "domains": ["nitroflare.com"], "status": False, "daily_link_limit": 0},
        ]
    )


def cached(host: Host, ask: Ask) -> web.Response:
    host.holder(ask.bearer)
    rows = {}
    for file in host.files:
        link = f"https://rapidgator.net/file/{file.id}"
        key = hashlib.md5(link.encode(), usedforsecurity=False).hexdigest()
        if key in ask.fields["hash"] and file.state == "online":
            rows[key] = {"name": file.name, "size": file.size, "hash": key}
    return _well(rows or None)


def create(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.bearer)
    file = host.openable(ask.field("link"), account, ask.field("password"))
    return _well({"webdownload_id": int(host.begin(file, account)), "hash": uuid4().hex, "auth_id": "me"})


def mylist(host: Host, ask: Ask) -> web.Response:
    host.holder(ask.bearer)
    file, _, fraction = host.turn(ask.field("id"))
    done = fraction >= 1
    state = "completed" if done else "downloading"
    row = {"id": int(ask.field("id")), "name": file.name, "size": file.size, "progress": fraction}
    if file.state != "online":
        state = "failed (download server)"
    parts = [{"id": 0, "size": 5, "short_name": "read me.txt"}, {"id": 1, "size": file.size, "short_name": file.name}]
    return _well(row | {"download_state": state, "download_finished": done, "files": parts if done else []})


def request(host: Host, ask: Ask) -> web.Response:
    host.holder(ask.field("token"))
    file, account, _ = host.turn(ask.field("web_id"))
    return _well(host.link_to(file, account)) if ask.field("file_id") == "1" else refuse("unknown")


SPEECH = Speech(
    calls={
        "user/me": ("account", me),
        "webdl/hosters": ("hosts", hosters),
        "webdl/checkcached": ("check", cached),
        "webdl/createwebdownload": ("resolve", create),
        "webdl/mylist": ("poll", mylist),
        "webdl/requestdl": ("link", request),
    },
    faults=frozenset(WORDS),
    refuse=refuse,
    metered=False,
)
