"""When two submissions ask for the same. Pure."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from msgspec.structs import replace

from proto.job import Options

_encode = msgspec.json.Encoder(order="sorted").encode
_PORTS = {"http": 80, "https": 443}


def canonical(url: str) -> str:
    """Differences that lead nowhere else are gone. The fragment stays: some sites keep their keys in it."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = f":{parts.port}" if parts.port not in (None, _PORTS.get(parts.scheme)) else ""
    return parts._replace(netloc=host + port, path=parts.path or "/").geturl()


def fingerprint(url: str, options: Options) -> UUID:
    """The same for two submissions that would fetch the same: one canonical link and equal options. Labels are left
    out, for they change nothing that is fetched."""
    told = canonical(url).encode() + b"\0" + _encode(replace(options, labels={}) if options.labels else options)
    return UUID(bytes=hashlib.sha256(told).digest()[:16])
