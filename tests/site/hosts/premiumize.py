"""Premiumize's interface: a bearer key, an envelope of status and a code or words, a fair use without bytes."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from .host import Ask, Fault, Host, Speech

WORDS: dict[Fault, tuple[str, str | None]] = {
    "wrong_login": ("Not logged in.", None),
    "frozen": ("Account locked.", None),
    "not_premium": ("This needs a premium membership.", "permission_denied"),
    "exhausted": ("Fair use limit reached!", "account_limit_reached"),
    "slots": ("Too many active downloads.", None),
    "address_refused": ("Your IP address is not allowed.", None),
    "flood": ("Too many requests.", "rate_limit_reached"),
    "maintenance": ("We are under maintenance.", None),
    "host_down": ("This service is down.", "service_down"),
    "host_limit": ("Enough of this service.", "service_limit_reached"),
    "unsupported": ("Unsupported link.", "service_unsupported"),
    "offline": ("File not found.", "not_found"),
    "banned": ("Removed after a DMCA notice.", None),
    "private": ("This file is private.", None),
    "password": ("Wrong download password.", None),
    "later": ("Please try again.", "transient_error"),
    "unknown": ("The moon is in the wrong house.", "moon_house"),
}


def refuse(fault: Fault) -> web.Response:
    message, code = WORDS[fault]
    return web.json_response({"status": "error", "message": message} | ({} if code is None else {"code": code}))


def _well(**fields: Any) -> web.Response:
    return web.json_response({"status": "success", **fields})


def info(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.bearer)
    return _well(
        customer_id="123456789",
        premium_until=account.premium_until if account.premium else False,
        limit_used=1 if account.traffic_left == 0 else 0.25,
        space_used=0,
    )


def services(host: Host, ask: Ask) -> web.Response:
    host.holder(ask.bearer)
    aliases = {"rapidgator.net": ["rapidgator.net", "rg.to"]}
    return web.json_response({"directdl": ["rapidgator.net", "1fichier.com"], "cache": [], "aliases": aliases})


def cached(host: Host, ask: Ask) -> web.Response:
    host.holder(ask.bearer)
    found = [host.find(link) for link in ask.fields["items[]"]]
    known = [file if file is not None and file.state == "online" else None for file in found]
    return _well(
        response=[file is not None for file in known],
        transcoded=[False for _ in known],
        filename=["" if file is None else file.name for file in known],
        filesize=["0" if file is None else str(file.size) for file in known],
    )


def directdl(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.bearer)
    file = host.openable(ask.field("src"), account, ask.field("download_password"))
    link = host.link_to(file, account)
    content = [
        {"path": "read me.txt", "size": 5, "link": f"{link}?not=this"},
        {"path": f"folder/{file.name}", "size": str(file.size), "link": link, "stream_link": None},
    ]
    return _well(location=link, filename=file.name, filesize=file.size, content=content)


SPEECH = Speech(
    calls={
        "account/info": ("account", info),
        "services/list": ("hosts", services),
        "cache/check": ("check", cached),
        "transfer/directdl": ("resolve", directdl),
    },
    faults=frozenset(WORDS),
    refuse=refuse,
    metered=False,
)
