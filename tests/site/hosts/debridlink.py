"""Debrid-Link's interface, version 2: a bearer key, an envelope of success and value or error."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

from aiohttp import web

from .host import Ask, Fault, Host, Speech

WORDS: dict[Fault, tuple[int, str]] = {
    "wrong_login": (401, "badToken"),
    "frozen": (403, "accountLocked"),
    "not_premium": (200, "notFreeHost"),
    "exhausted": (200, "maxData"),
    "slots": (200, "maxSimultaneousFilesHost"),
    "address_refused": (200, "serverNotAllowed"),
    "flood": (429, "floodDetected"),
    "maintenance": (503, "maintenance"),
    "host_down": (200, "maintenanceHost"),
    "host_limit": (200, "maxDataHost"),
    "unsupported": (200, "hostNotValid"),
    "offline": (200, "fileNotFound"),
    "banned": (200, "infringingFile"),
    "password": (200, "badFilePassword"),
    "unknown": (200, "linkOutOfOrbit"),
}


def refuse(fault: Fault) -> web.Response:
    status, error = WORDS[fault]
    return web.json_response({"success": False, "error": error}, status=status)


def _well(value: Any) -> web.Response:
    return web.json_response({"success": True, "value": value})


def token(host: Host, ask: Ask) -> web.Response:
    if (ask.field("client_id"), ask.field("grant_type")) != ("application", "refresh_token"):
        return web.json_response({"error": "invalid_request"}, status=400)
    fresh = host.refresh(ask.field("refresh_token"))
    return web.json_response({"access_token": fresh, "expires_in": 3600, "token_type": "bearer"})


def infos(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.bearer)
    left = max(0, account.premium_until - int(time.time())) if account.premium else 0
    return _well({"email": account.username, "username": "me", "accountType": 1, "premiumLeft": left, "pts": 0})


def limits(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.bearer)
    total = account.traffic_total or 0
    row = {"name": "rapidgator", "daySize": {"current": total - (account.traffic_left or 0), "value": total}}
    return _well({"usagePercent": {"current": 12}, "nextResetSeconds": {"value": 3600}, "hosters": [row]})


def hosters(host: Host, ask: Ask) -> web.Response:
    rows = [
        {"name": "rapidgator", "domains": ["rapidgator.net", "rg.to"], "status": 1},
        {"name": "nitroflare", "domains": ["nitroflare.com"], "status": 0},
    ]
    return _well(rows)


def add(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.bearer)
    file = host.openable(ask.field("url"), account, ask.field("password"))
    return _well(
        {
            "id": uuid4().hex[:12],
            "url": ask.field("url"),
            "downloadUrl": host.link_to(file, account),
            "name": file.name,
            "size": file.size,
            "chunk": 4,
            "resume": True,
            "host": "rapidgator",
            "expired": False,
        }
    )


SPEECH = Speech(
    calls={
        "token": ("login", token),
        "account/infos": ("account", infos),
        "downloader/limits/all": ("limits", limits),
        "downloader/hosts": ("hosts", hosters),
        "downloader/add": ("resolve", add),
    },
    faults=frozenset(WORDS),
    refuse=refuse,
    checks=False,
)
