"""AllDebrid's interface, version 4: a bearer key, an envelope of status and data or error; links that come later."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from aiohttp import web

from .host import Ask, Fault, Host, Speech

WORDS: dict[Fault, tuple[int, str]] = {
    "wrong_login": (401, "AUTH_BAD_APIKEY"),
    "frozen": (401, "AUTH_USER_BANNED"),
    "not_premium": (200, "MUST_BE_PREMIUM"),
    "slots": (200, "LINK_TOO_MANY_DOWNLOADS"),
    "address_refused": (200, "NO_SERVER"),
    "flood": (429, "429"),
    "maintenance": (503, "MAINTENANCE"),
    "host_down": (200, "LINK_HOST_UNAVAILABLE"),
    "host_limit": (200, "LINK_HOST_LIMIT_REACHED"),
    "unsupported": (200, "LINK_HOST_NOT_SUPPORTED"),
    "offline": (200, "LINK_DOWN"),
    "password": (200, "LINK_PASS_PROTECTED"),
    "later": (200, "LINK_TEMPORARY_UNAVAILABLE"),
    "unknown": (200, "LINK_IN_THE_SKY"),
}


def refuse(fault: Fault) -> web.Response:
    status, code = WORDS[fault]
    error = {"code": code, "message": f"What {code} means"}
    return web.json_response({"status": "error", "error": error}, status=status)


def _well(**data: Any) -> web.Response:
    return web.json_response({"status": "success", "data": data})


def user(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.bearer)
    return _well(
        user={
            "username": account.username,
            "isPremium": account.premium,
            "isSubscribed": False,
            "isTrial": False,
            "premiumUntil": account.premium_until if account.premium else 0,
            "limitedHostersQuotas": {},
        }
    )


def hosts(host: Host, ask: Ask) -> web.Response:
    left = host.holder(ask.bearer).traffic_left
    quota = {} if left is None else {"quota": left / 1_000_000, "quotaMax": 50_000, "quotaType": "traffic"}
    rows = {
        "rapidgator": {"name": "rapidgator", "domains": ["rapidgator.net", "rg.to"], "status": True} | quota,
        "isra": {"name": "isra", "domains": ["isra.cloud"], "status": True, "quota": 5, "quotaType": "nb_download"},
        "nitroflare": {"name": "nitroflare", "type": "premium", "domains": ["nitroflare.com"], "status": False},
    }
    return _well(hosts=rows)


def infos(host: Host, ask: Ask) -> web.Response:
    host.holder(ask.bearer)
    rows: list[dict[str, Any]] = []
    for link in ask.fields["link[]"]:
        file = host.find(link)
        if file is None or file.state != "online":
            rows.append({"link": link, "error": {"code": "LINK_DOWN", "message": "This link is not available"}})
        elif file.password:
            rows.append({"link": link, "error": {"code": "LINK_PASS_PROTECTED", "message": "Link is protected"}})
        else:
            row = {"link": link, "filename": file.name, "size": file.size, "host": "rapidgator"}
            rows.append(row | {"hostDomain": "rapidgator.net"})
    return _well(infos=rows)


def unlock(host: Host, ask: Ask) -> web.Response:
    account = host.holder(ask.bearer)
    file = host.openable(ask.field("link"), account, ask.field("password"))
    common = {"host": "rapidgator", "hostDomain": "rapidgator.net", "filename": file.name, "filesize": file.size}
    if file.polls:
        return _well(link="", delayed=int(host.begin(file, account)), **common)
    return _well(link=host.link_to(file, account), id=uuid4().hex[:8], paws=False, max_chunks=8, streams=[], **common)


def delayed(host: Host, ask: Ask) -> web.Response:
    host.holder(ask.bearer)
    file, account, fraction = host.turn(ask.field("id"))
    if file.state != "online":
        return _well(status=3, time_left=0)
    if fraction < 1:
        return _well(status=1, time_left=7)
    return _well(status=2, time_left=0, link=host.link_to(file, account))


SPEECH = Speech(
    calls={
        "v4/user": ("account", user),
        "v4.1/user/hosts": ("hosts", hosts),
        "v4/link/infos": ("check", infos),
        "v4/link/unlock": ("resolve", unlock),
        "v4/link/delayed": ("poll", delayed),
    },
    faults=frozenset(WORDS),
    refuse=refuse,
)
