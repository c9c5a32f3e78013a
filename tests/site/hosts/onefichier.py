"""1fichier's interface, version 1: JSON in and out, a bearer key, refusals as status KO and a message with a number."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from aiohttp import web

from .host import Ask, Fault, Host, HostedFile, Refusal, Speech

WORDS: dict[Fault, tuple[int, str]] = {
    "wrong_login": (401, "Not authenticated #247"),
    "frozen": (403, "Owner locked"),
    "not_premium": (403, "Must be a customer (Premium, Access) #200"),
    "slots": (403, "Only 3 locations allowed at the same time"),
    "address_refused": (403, "IP Locked #28"),
    "flood": (403, "Flood detected"),
    "maintenance": (503, "Our services are in maintenance"),
    "unsupported": (400, "Invalid link"),
    "offline": (404, "Resource not found #469"),
    "banned": (403, "File locked by the service"),
    "private": (403, "Resource not allowed by the access control of its owner"),
    "password": (403, "Wrong password"),
    "unknown": (418, "The filing cabinet is full #4711"),
}


def refuse(fault: Fault) -> web.Response:
    status, message = WORDS[fault]
    return web.json_response({"status": "KO", "message": message}, status=status)


def user(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.bearer)
    until = datetime.fromtimestamp(account.premium_until, UTC)
    return web.json_response(
        {
            "status": "OK",
            "email": account.username,
            "offer": "1" if account.premium else "0",
            "subscription_end": f"{until:%Y-%m-%d %H:%M:%S}" if account.premium else "",
        }
    )


def _file(host: Host, ask: Ask) -> HostedFile:
    file = host.find(ask.json["url"])
    if file is None or file.state == "offline":
        raise Refusal("offline")
    if file.state != "online":
        raise Refusal(file.state)
    return file


def info(host: Host, ask: Ask) -> web.Response:
    host.holder(ask.bearer)
    file = _file(host, ask)
    if file.password and ask.json.get("pass") != file.password:
        return refuse("password")
    return web.json_response(
        {
            "url": ask.json["url"],
            "filename": file.name,
            "size": file.size,
            "checksum": "f" * 128,
            "content-type": "application/octet-stream",
            "date": "2026-01-01 00:00:00",
        }
    )


def token(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.bearer)
    file = host.openable(ask.json["url"], account, ask.json.get("pass"))
    return web.json_response({"status": "OK", "message": "OK", "url": host.link_to(file, account)})


def identify(name: str) -> tuple[str, str]:
    identity = uuid4().hex[:20]
    return identity, f"https://1fichier.com/?{identity}"


SPEECH = Speech(
    calls={
        "user/info.cgi": ("account", user),
        "file/info.cgi": ("check", info),
        "download/get_token.cgi": ("resolve", token),
    },
    faults=frozenset(WORDS),
    refuse=refuse,
    identify=identify,
    metered=False,
)
