"""LinkSnappy's interface: a session by cookie, an envelope of status and return or error, refusals in words alone."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from .host import Account, Ask, Fault, Host, Refusal, Speech

WORDS: dict[Fault, str] = {
    "session_expired": "Your session has expired, please log in",
    "wrong_login": "Invalid Username or Password",
    "captcha": "Please solve the captcha on the site",
    "frozen": "Your account is suspended",
    "not_premium": "Your account has expired",
    "exhausted": "You have used up your quota",
    "slots": "Too many simultaneous downloads",
    "address_refused": "Your IP address is not allowed",
    "flood": "Too many requests",
    "maintenance": "We are under maintenance",
    "host_down": "This filehost is down",
    "host_limit": "You have used up the daily quota of this host",
    "unsupported": "This filehost is not supported",
    "offline": "File not found",
    "banned": "File deleted after a copyright claim",
    "private": "This file is private",
    "password": "Wrong password for this link",
    "later": "Could not make the link, try again",
    "unknown": "A link has snapped",
}


def refuse(fault: Fault) -> web.Response:
    return web.json_response({"status": "ERROR", "error": WORDS[fault]})


def _member(host: Host, ask: Ask) -> Account:
    return host.member(ask.cookies.get("Auth", ""))


def authenticate(host: Host, ask: Ask) -> web.Response:
    token = host.login(ask.field("username"), ask.field("password"))
    response = web.json_response({"status": "OK", "error": False})
    response.set_cookie("Auth", token)
    return response


def details(host: Host, ask: Ask) -> web.Response:
    account = _member(host, ask)
    returned: dict[str, Any] = {"username": account.username, "expire": "expired"}
    if account.premium:
        returned["expire"] = account.premium_until
    left = account.traffic_left
    returned["trafficleft"] = "unlimited" if left is None else left // 1024
    return web.json_response({"status": "OK", "error": False, "return": returned})


def filehosts(host: Host, ask: Ask) -> web.Response:
    returned = {
        "rapidgator.net": {"Status": "1", "Quota": "unlimited", "Usage": 0},
        "nitroflare.com": {"Status": "0", "Quota": 1000, "Usage": 0},
    }
    return web.json_response({"status": "OK", "return": returned})


def linkgen(host: Host, ask: Ask) -> web.Response:
    account = _member(host, ask)
    wanted = msgspec.json.decode(ask.field("genLinks"))
    try:
        file = host.openable(wanted["link"], account, wanted.get("linkpass"))
    except Refusal as refusal:
        return web.json_response({"links": [{"status": "ERROR", "error": WORDS[refusal.fault]}]})
    link = {"status": "OK", "error": False, "filename": file.name, "generated": host.link_to(file, account)}
    if file.polls:
        link |= {"cacheDL": True, "hash": host.begin(file, account)}
    return web.json_response({"links": [link]})


def progress(host: Host, ask: Ask) -> web.Response:
    _member(host, ask)
    _, _, fraction = host.turn(ask.field("id"))
    return web.json_response({"status": "OK", "return": {"percent": fraction * 100}})


SPEECH = Speech(
    calls={
        "AUTHENTICATE": ("login", authenticate),
        "USERDETAILS": ("account", details),
        "FILEHOSTS": ("hosts", filehosts),
        "linkgen": ("resolve", linkgen),
        "CACHEDLSTATUS": ("poll", progress),
    },
    faults=frozenset(WORDS),
    refuse=refuse,
    checks=False,
)
