"""Nitroflare's interface, version 2: user and premium key in the query, an envelope of type and result or message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiohttp import web

from .host import Account, Ask, Fault, Host, Refusal, Speech

WORDS: dict[Fault, tuple[int, str]] = {
    "wrong_login": (2, "Invalid premium key"),
    "captcha": (12, "You need to solve a captcha"),
    "frozen": (1, "Account banned"),
    "not_premium": (5, "This account is not premium"),
    "exhausted": (9, "You have reached your bandwidth limit"),
    "slots": (10, "Too many simultaneous downloads"),
    "address_refused": (1, "Your IP address is blocked"),
    "flood": (11, "Too many requests"),
    "maintenance": (99, "The service is under maintenance"),
    "unsupported": (3, "Bad input"),
    "offline": (4, "File doesn't exist"),
    "banned": (4, "File deleted due to a copyright claim"),
    "private": (4, "This file is private"),
    "later": (13, "File temporarily unavailable"),
    "unknown": (4711, "The flare has gone out"),
}


def refuse(fault: Fault) -> web.Response:
    code, message = WORDS[fault]
    return web.json_response({"type": "error", "code": code, "message": message})


def _well(**result: Any) -> web.Response:
    return web.json_response({"type": "success", "result": result})


def _member(host: Host, ask: Ask) -> Account:
    account = host.holder(ask.field("premiumKey"))
    if account.username != ask.field("user"):
        raise Refusal("wrong_login")
    if account.captcha:
        raise Refusal("captcha")
    return account


def key_info(host: Host, ask: Ask) -> web.Response:
    account = _member(host, ask)
    until = datetime.fromtimestamp(account.premium_until, UTC)
    return _well(
        expiryDate=f"{until:%Y-%m-%d %H:%M:%S}",
        status="active" if account.premium else "inactive",
        trafficLeft=str(account.traffic_left),
        trafficMax=str(account.traffic_total),
    )


def file_info(host: Host, ask: Ask) -> web.Response:
    rows = {}
    for identity in ask.field("files").split(","):
        file = host.find(identity)
        if file is None or file.state != "online":
            rows[identity] = {"status": "offline"}
        else:
            rows[identity] = {"status": "online", "name": file.name, "size": str(file.size), "url": file.url}
    return _well(files=rows)


def download(host: Host, ask: Ask) -> web.Response:
    """Who has no premium gets what a guest would get."""
    account = _member(host, ask)
    try:
        file = host.openable(ask.field("file"), account, None)
    except Refusal as refusal:
        if refusal.fault == "not_premium":
            return _well(linkType="free", accessLink="https://nitroflare.com/free", delay=120)
        raise
    return _well(linkType="premium", url=host.link_to(file, account), name=file.name, size=str(file.size))


def identify(name: str) -> tuple[str, str]:
    identity = uuid4().hex[:15].upper()
    return identity, f"https://nitroflare.com/view/{identity}/{name}"


SPEECH = Speech(
    calls={
        "getKeyInfo": ("account", key_info),
        "getFileInfo": ("check", file_info),
        "getDownloadLink": ("resolve", download),
    },
    faults=frozenset(WORDS),
    refuse=refuse,
    identify=identify,
)
