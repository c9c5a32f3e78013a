"""A plain HTTP host: `files/<id>/<name>` for who brings Basic credentials, `X-Key: <secret>` or a cookie `key`.

A file whose name begins with `redirected` is answered with a redirect to a signed link.
"""

from __future__ import annotations

from base64 import b64encode
from uuid import uuid4

from aiohttp import web

from tests.site.sending import error_page

from .host import Account, Ask, Direct, Fault, Host, Refusal, Speech

STATUSES: dict[Fault, int] = {
    "wrong_login": 401,
    "frozen": 403,
    "exhausted": 509,
    "flood": 429,
    "maintenance": 503,
    "offline": 404,
    "banned": 451,
    "unknown": 418,
}


def refuse(fault: Fault) -> web.Response:
    return error_page(STATUSES[fault])


def _member(host: Host, ask: Ask) -> Account:
    for account in host.accounts:
        pair = b64encode(f"{account.username}:{account.secret}".encode()).decode()
        brought = (ask.headers.get("Authorization"), ask.headers.get("X-Key"), ask.headers.get("Cookie"))
        if {f"Basic {pair}", account.secret, f"key={account.secret}"} & set(brought):
            if account.frozen:
                raise Refusal("frozen")
            return account
    raise Refusal("wrong_login")


def home(host: Host, ask: Ask) -> web.Response:
    _member(host, ask)
    return web.Response(text="<!doctype html><title>Your files</title>", content_type="text/html")


def file(host: Host, ask: Ask) -> web.Response | Direct:
    account = _member(host, ask)
    found = host.openable(ask.path, account, None)
    if found.name.startswith("redirected"):
        return web.Response(status=302, headers={"Location": host.link_to(found, account)})
    return Direct(file=found, account=account)


def identify(name: str) -> tuple[str, str]:
    identity = uuid4().hex
    return identity, f"{{base}}/files/{identity}/{name}"


SPEECH = Speech(
    calls={"": ("account", home), "files/": ("resolve", file)},
    faults=frozenset(STATUSES),
    refuse=refuse,
    identify=identify,
    metered=False,
)
