"""Their calls as an OpenAPI document."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from libs.contracts.openapi import Api, Call, document
from services.gateway.dialects.gdluxx import bundles, wire
from services.gateway.dialects.gdluxx.wire import Success

PATH = "/api/extension/openapi.json"

DESCRIPTION = """\
Every answer says `success`. 400: a request that can not be used. 401: no key, or a wrong one. 409: a key of
repetition was used for something else. 413: too much. 429: far too often. 503: a service is restarting.
"""

_PROBLEM = (wire.Problem,)
_ALWAYS = {400: _PROBLEM, 401: _PROBLEM, 429: _PROBLEM, 503: _PROBLEM}
_CORS = {"Access-Control-Allow-Origin": "The origin that asks, or any", "Vary": "Origin"}


def _call(summary: str, data: Any, **more: Any) -> Call:
    read = {413: _PROBLEM} if more.get("body") is not None else {}
    return Call(summary=summary, answers={200: (Success[data],), **_ALWAYS, **read}, **more)


def calls() -> dict[str, Call]:
    """By method and path."""
    external = _call("A job for each link; up to 200", wire.Submission, body=wire.External, header=wire.Repeatable)
    found = {
        "POST external": replace(external, answers={**external.answers, 409: _PROBLEM}),
        "POST ping": _call(
            "Whether the key is good, and what the server can do", wire.Pong, body=wire.Hello, needs_body=False
        ),
        "GET jobs": _call("What became of jobs", wire.Jobs, query=wire.Ids),
        "GET cookies": _call("Whose cookies are kept, never what they say", wire.CookieBackup),
        "PUT cookies": _call("Keep the cookies of a domain", wire.CookieBackup, body=wire.CookieUpsert),
        "DELETE cookies": _call("Forget cookies, of a domain or all", wire.Deleted, query=wire.OfDomain),
    }
    for kind in bundles.KINDS:
        found[f"GET {kind}"] = _call(f"The backup: {kind}", wire.Backup)
        found[f"PUT {kind}"] = _call(f"Keep a backup: {kind}", wire.BackupKept, body=wire.Upsert)
        found[f"DELETE {kind}"] = _call(f"Forget the backup: {kind}", wire.Deleted)
    return {name.replace(" ", " /api/extension/"): call for name, call in found.items()}


def openapi(version: str) -> bytes:
    statuses = {status for call in calls().values() for status in call.answers}
    headers = {status: dict(_CORS) for status in statuses}
    headers[401]["WWW-Authenticate"] = "Bearer"
    headers[429]["Retry-After"] = headers[503]["Retry-After"] = "Seconds"
    return msgspec.json.encode(
        document(
            Api(
                title="Longshore: gdluxx",
                version=version,
                description=DESCRIPTION,
                roots=("/",),
                keys={"bearer": {"type": "http", "scheme": "bearer"}},
                headers=headers,
                calls=calls(),
            )
        )
    )
