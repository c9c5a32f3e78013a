"""Premiumize's interface: the key in the form, an envelope of status and message, a fair use without bytes."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from aiohttp import web

from .host import Ask, Fault, Host, Speech

WORDS: dict[Fault, str] = {
    "wrong_login": "Not logged in.",
    "frozen": "Account locked.",
    "not_premium": "You need a premium membership for this.",
    "exhausted": "Fair use limit reached!",
    "slots": "Too many active downloads.",
    "address_refused": "Your IP address is not allowed.",
    "flood": "Too many requests.",
    "maintenance": "We are under maintenance.",
    "host_down": "This hoster is down.",
    "unsupported": "Unsupported link.",
    "offline": "File not found.",
    "banned": "Removed after a DMCA notice.",
    "private": "This file is private.",
    "password": "Wrong download password.",
    "later": "Please try again.",
    "unknown": "The moon is in the wrong house.",
}


def refuse(fault: Fault) -> web.Response:
    return web.json_response({"status": "error", "message": WORDS[fault]})


def _well(**fields: Any) -> web.Response:
    return web.json_response({"status": "success", **fields})


def info(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.field("apikey"))
    return _well(
        customer_id="123456789",
        premium_until=account.premium_until if account.premium else False,
        limit_used=1 if account.traffic_left == 0 else 0.25,
        space_used=0,
    )


def services(host: Host, ask: Ask) -> web.Response:
    host.holder(ask.field("apikey"))
    aliases = {"rapidgator.net": ["rapidgator.net", "rg.to"]}
    return web.json_response({"directdl": ["rapidgator.net", "1fichier.com"], "cache": [], "aliases": aliases})


def cached(host: Host, ask: Ask) -> web.Response:
    host.holder(ask.field("apikey"))
    found = [host.find(link) for link in ask.fields["items[]"]]
    known = [file if file is not None and file.state == "online" else None for file in found]
    return _well(
        response=[file is not None for file in known],
        transcoded=[False for _ in known],
        filename=["" if file is None else file.name for file in known],
        filesize=["0" if file is None else str(file.size) for file in known],
    )


def directdl(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.field("apikey"))
    file = host.openable(ask.field("src"), account, ask.field("download_password"))
    link = host.link_to(file, account)
    content = [
        {"path": "read me.txt", "size": 5, "link": f"{link}?not=this"},
        {"path": f"folder/{file.name}", "size": str(file.size), "link": link, "stream_link": None},
    ]
    return _well(location=link, filename=file.name, filesize=file.size, content=content)


def identify(name: str) -> tuple[str, str]:
    identity = uuid4().hex
    return identity, f"https://rapidgator.net/file/{identity}/{name}.html"


SPEECH = Speech(
    calls={
        "account/info": ("account", info),
        "services/list": ("hosts", services),
        "cache/check": ("check", cached),
        "transfer/directdl": ("resolve", directdl),
    },
    faults=frozenset(WORDS),
    refuse=refuse,
    identify=identify,
    metered=False,
)
