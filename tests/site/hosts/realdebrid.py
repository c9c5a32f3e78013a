"""Real-Debrid's interface, version 1.0: a bearer token, forms in, errors as HTTP 4XX and 5XX with an error_code."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from aiohttp import web

from .host import Ask, Fault, Host, Speech

WORDS: dict[Fault, tuple[int, str, int]] = {
    "wrong_login": (401, "bad_token", 8),
    "captcha": (403, "two_factor_auth_needed", 11),
    "frozen": (403, "user_locked", 14),
    "not_premium": (403, "hoster_premium_only", 20),
    "exhausted": (403, "traffic_exhausted", 23),
    "slots": (403, "too_many_active_downloads", 21),
    "address_refused": (403, "ip_not_allowed", 22),
    "flood": (429, "too_many_requests", 34),
    "maintenance": (503, "service_unavailable", 25),
    "host_down": (503, "hoster_in_maintenance", 17),
    "host_limit": (403, "hoster_limit_reached", 18),
    "unsupported": (503, "hoster_unsupported", 16),
    "offline": (503, "unavailable_file", 24),
    "banned": (451, "infringing_file", 35),
    "password": (403, "permission_denied", 9),
    "unknown": (418, "teapot", 4711),
}
DOMAINS = ["rapidgator.net", "rg.to", "1fichier.com", "keep2share.cc"]


def refuse(fault: Fault) -> web.Response:
    status, error, code = WORDS[fault]
    return web.json_response({"error": error, "error_code": code}, status=status)


def token(host: Host, ask: Ask) -> web.Response:
    device = (ask.field("client_id"), ask.field("client_secret"), ask.field("grant_type"))
    if device != ("device", "secret of the device", "http://oauth.net/grant_type/device/1.0"):
        return web.json_response({"error": "wrong_parameter", "error_code": 2}, status=400)
    fresh = host.refresh(ask.field("code"))
    return web.json_response({"access_token": fresh, "expires_in": 3600, "token_type": "Bearer"})


def user(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.bearer)
    until = datetime.fromtimestamp(account.premium_until, UTC)
    return web.json_response(
        {
            "id": 1,
            "username": account.username,
            "email": account.username,
            "points": 10,
            "type": "premium" if account.premium else "free",
            "premium": max(0, int((until - datetime.now(UTC)).total_seconds())) if account.premium else 0,
            "expiration": until.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        }
    )


def traffic(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.bearer)
    if account.traffic_left is None:
        return web.json_response({})
    return web.json_response(
        {
            "rapidgator.net": {
                "left": account.traffic_left,
                "bytes": 0,
                "links": 0,
                "limit": 50,
                "type": "gigabytes",
                "extra": 0,
                "reset": "daily",
            },
            "1fichier.com": {
                "left": 3,
                "bytes": 0,
                "links": 2,
                "limit": 5,
                "type": "links",
                "extra": 0,
                "reset": "daily",
            },
        }
    )


def domains(host: Host, ask: Ask) -> web.Response:
    return web.json_response(DOMAINS)


def check(host: Host, ask: Ask) -> web.Response:
    """Needs no token. Whoever's file has a password hears that it is unavailable without it."""
    file = host.find(ask.field("link"))
    if file is None or file.state != "online":
        return refuse("offline")
    return web.json_response(
        {
            "host": "rapidgator.net",
            "link": ask.field("link"),
            "filename": file.name,
            "filesize": file.size,
            "supported": 1,
        }
    )


def link(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.bearer)
    file = host.openable(ask.field("link"), account, ask.field("password"))
    return web.json_response(
        {
            "id": uuid4().hex[:13].upper(),
            "filename": file.name,
            "mimeType": "application/octet-stream",
            "filesize": file.size,
            "link": ask.field("link"),
            "host": "rapidgator.net",
            "chunks": 8,
            "crc": 1,
            "download": host.link_to(file, account),
            "streamable": 0,
        }
    )


SPEECH = Speech(
    calls={
        "token": ("login", token),
        "user": ("account", user),
        "traffic": ("account", traffic),
        "hosts/domains": ("hosts", domains),
        "unrestrict/check": ("check", check),
        "unrestrict/link": ("resolve", link),
    },
    faults=frozenset(WORDS),
    refuse=refuse,
)
