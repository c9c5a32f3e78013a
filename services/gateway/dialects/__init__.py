"""What every dialect's routes are given, and how a wire answer is made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec
from litestar import Request, Response
from litestar.connection import ASGIConnection
from msgspec import Struct

from libs.egress.policy import EgressPolicy
from libs.sealing import LinkSigner
from services.gateway.ask import Ask
from services.gateway.blobs import Blobs
from services.gateway.guard import Guard

BODY_LIMIT = 1024 * 1024
"""Bytes; ten thousand links of a hundred characters fit."""

AnyRequest = Request[Any, Any, Any]

_encode = msgspec.json.Encoder().encode


class Edge(Struct, frozen=True, kw_only=True):
    ask: Ask
    blobs: Blobs
    guard: Guard
    signer: LinkSigner
    policy: EgressPolicy
    base_url: str
    version: str
    download_signer: LinkSigner
    download_connections: int
    """To one file, as the server of `/download` allows."""
    download_seconds: int
    """How long a link to a file is good at least."""


class Repeat(NamedTuple):
    """By what a request is known when it comes again."""

    command_id: UUID
    asked: str


def repeat(key_id: UUID, idempotency_key: str, *asked: object) -> Repeat:
    """`asked` is all that the client said, as far as it was understood."""
    command_id = uuid5(key_id, hashlib.sha256(idempotency_key.encode()).hexdigest())
    return Repeat(command_id, hashlib.sha256(_encode(asked)).hexdigest())


def reply(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """`body` in JSON; bytes are taken as they are."""
    content = body if isinstance(body, bytes) else _encode(body)
    return Response(content, status_code=status, media_type="application/json", headers=dict(headers or {}))


def address(request: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Where a request came from: the last proxy, when there are any."""
    return f"address:{request.client.host if request.client else ''}"


def bearer(request: AnyRequest) -> str | None:
    """The token of `Authorization: Bearer`; None without such a header, empty when it has no token."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    kind, _, token = header.strip().partition(" ")
    return token.strip() if kind.lower() == "bearer" else None
