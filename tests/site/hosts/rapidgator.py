"""RapidGator's interface, version 2: the token in every form, an envelope of response, status and details."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

from .host import Account, Ask, Fault, Host, Speech

WORDS: dict[Fault, tuple[int, str]] = {
    "session_expired": (401, "Error: Session not exist"),
    "wrong_login": (401, "Error: Login or password is wrong"),
    "captcha": (423, "Error: Captcha is required. Please sign in on the site"),
    "frozen": (401, "Error: User is FROZEN"),
    "not_premium": (401, "Error: User is not PREMIUM"),
    "exhausted": (406, "Error: Exceeded traffic"),
    "slots": (423, "Error: You have reached the limit of simultaneous downloads"),
    "address_refused": (403, "Error: Access from your IP address is denied"),
    "flood": (401, "Error: Please wait"),
    "maintenance": (503, "Error: The service is under maintenance"),
    "unsupported": (400, "Error: Wrong file link"),
    "offline": (404, "Error: File not found"),
    "banned": (451, "Error: File was banned due to a copyright claim"),
    "private": (403, "Error: This file can be downloaded by its subscribers only"),
    "later": (503, "Error: File is temporarily unavailable"),
    "unknown": (418, "Error: Alligators are on holiday"),
}


def refuse(fault: Fault) -> web.Response:
    status, details = WORDS[fault]
    return web.json_response({"response": None, "status": status, "details": details}, status=status)


def _well(response: Any) -> web.Response:
    return web.json_response({"response": response, "status": 200, "details": None})


def _user(account: Account) -> dict[str, Any]:
    return {
        "email": account.username,
        "is_premium": account.premium,
        "premium_end_time": account.premium_until if account.premium else None,
        "state": 1,
        "state_label": "Active",
        "traffic": {"total": account.traffic_total, "left": account.traffic_left},
        "storage": {"total": "1099511627776", "left": 1099511627776},
    }


def _codes(seed: bytes) -> list[str]:
    """Of this moment and the one before: half a minute may end while a request is under way."""
    now = int(time.time()) // 30
    return [HOTP(seed, 6, SHA1()).generate(counter).decode() for counter in (now, now - 1)]  # noqa: S303 - what such codes are made with


def login(host: Host, ask: Ask) -> web.Response:
    token = host.login(ask.field("login"), ask.field("password"))
    seed = host.sessions[token].seed
    if seed and ask.field("code") not in _codes(seed):
        body = {"response": None, "status": 401, "details": "Error: Wrong auth code"}
        return web.json_response(body, status=401)
    return _well({"token": token, "user": _user(host.sessions[token])})


def info(host: Host, ask: Ask) -> web.Response:
    return _well({"user": _user(host.member(ask.field("token")))})


def check_link(host: Host, ask: Ask) -> web.Response:
    host.member(ask.field("token"))
    urls = ask.field("url").split(",")
    if len(urls) > 25:
        return refuse("unsupported")
    rows: list[dict[str, Any]] = []
    for url in urls:
        file = host.find(url)
        if file is None or file.state != "online":
            rows.append({"url": url, "filename": None, "size": None, "status": "NO ACCESS"})
        else:
            rows.append({"url": url, "filename": file.name, "size": file.size, "status": "ACCESS"})
    return _well(rows)


def download(host: Host, ask: Ask) -> web.Response:
    account = host.member(ask.field("token"))
    file = host.openable(ask.field("file_id"), account, None)
    return _well({"download_url": host.link_to(file, account), "delay": 0})


SPEECH = Speech(
    calls={
        "user/login": ("login", login),
        "user/info": ("account", info),
        "file/check_link": ("check", check_link),
        "file/download": ("resolve", download),
    },
    faults=frozenset(WORDS),
    refuse=refuse,
)
