"""Keep2Share's interface, version 2: JSON in and out, the token in the body, refusals as HTTP 406 with an errorCode."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from aiohttp import web

from .host import Account, Ask, Fault, Host, Refusal, Speech

WORDS: dict[Fault, tuple[int, int | None, str, list[dict[str, Any]]]] = {
    "session_expired": (403, None, "You are not authorized for this action", []),
    "wrong_login": (406, 70, "Incorrect username or password", []),
    "captcha": (406, 33, "Re captcha required", []),
    "frozen": (406, 72, "Account banned", []),
    "not_premium": (406, 42, "Download not available", [{"code": 7, "message": "Premium only"}]),
    "exhausted": (406, 42, "Download not available", [{"code": 2, "message": "Traffic limit exceed"}]),
    "slots": (406, 42, "Download not available", [{"code": 6, "timeRemaining": "120.5"}]),
    "address_refused": (406, 77, "Your network is banned", []),
    "flood": (429, None, "Too many requests", []),
    "maintenance": (503, None, "Maintenance", []),
    "unsupported": (406, 23, "Folders can not be downloaded", []),
    "offline": (406, 20, "File not found", []),
    "banned": (406, 22, "File is blocked", []),
    "private": (406, 42, "Download not available", [{"code": 8, "message": "Private file"}]),
    "later": (406, 42, "Download not available", [{"code": 99, "timeRemaining": "30"}]),
    "unknown": (406, 4711, "The keeper has lost the key", []),
}


def refuse(fault: Fault) -> web.Response:
    status, code, message, errors = WORDS[fault]
    body: dict[str, Any] = {"status": "error", "code": status, "message": message}
    if code is not None:
        body["errorCode"] = code
    if errors:
        body["errors"] = errors
    return web.json_response(body, status=status)


def _well(**fields: Any) -> web.Response:
    return web.json_response({"status": "success", "code": 200, **fields})


def _member(host: Host, ask: Ask) -> Account:
    """A session's token, or a permanent one, which here is the account's secret."""
    if "access_token" in ask.json:
        account = next((one for one in host.accounts if one.secret == ask.json["access_token"]), None)
        if account is None:
            raise Refusal("session_expired")
        return account
    return host.member(ask.json.get("auth_token", ""))


def login(host: Host, ask: Ask) -> web.Response:
    return _well(auth_token=host.login(ask.json["username"], ask.json["password"]))


def account_info(host: Host, ask: Ask) -> web.Response:
    account = _member(host, ask)
    return _well(
        available_traffic=account.traffic_left,
        account_expires=account.premium_until if account.premium else False,
    )


def files_info(host: Host, ask: Ask) -> web.Response:
    rows = []
    for identity in ask.json["ids"]:
        file = host.find(identity)
        if file is None or file.state in {"offline", "banned"}:
            rows.append({"id": identity, "is_available": False, "name": None, "size": None, "md5": None})
            continue
        rows.append(
            {
                "id": identity,
                "name": file.name,
                "size": str(file.size),
                "is_available": True,
                "access": "private" if file.state == "private" else "public",
                "is_folder": False,
                "md5": "0" * 32,
                "isAvailableForFree": True,
            }
        )
    return _well(files=rows)


def get_url(host: Host, ask: Ask) -> web.Response:
    """Code 21 for files that are gone and for accounts whose traffic is used up alike."""
    account = _member(host, ask)
    try:
        file = host.openable(ask.json["file_id"], account, None)
    except Refusal as refusal:
        if refusal.fault in {"offline", "exhausted"}:
            body = {"status": "error", "code": 406, "message": "File is not available", "errorCode": 21}
            return web.json_response(body, status=406)
        raise
    return _well(url=host.link_to(file, account))


def identify(name: str) -> tuple[str, str]:
    identity = uuid4().hex[:13]
    return identity, f"https://keep2share.cc/file/{identity}/{name}"


SPEECH = Speech(
    calls={
        "login": ("login", login),
        "accountInfo": ("account", account_info),
        "getFilesInfo": ("check", files_info),
        "getUrl": ("resolve", get_url),
    },
    faults=frozenset(WORDS),
    refuse=refuse,
    identify=identify,
)
