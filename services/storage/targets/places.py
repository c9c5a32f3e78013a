"""Where a storage service listens, read from what users write."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from msgspec import Struct

_PLAIN = re.compile(r"[\x21-\x7e]{1,1024}")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")


class Place(Struct, frozen=True, kw_only=True):
    """`path` has no slash at its end."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    @property
    def netloc(self) -> str:
        return self.host if self.port == (443 if self.secure else 80) else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"

    def below(self, label: str) -> Place:
        return Place(scheme=self.scheme, host=f"{label}.{self.host}", port=self.port, path=self.path)


def place_of(field: str, text: str) -> Place:
    """Of a URL, or of a host alone, which is taken for https. Raises ValueError."""
    wrong = ValueError(f"{field} is not the address of a server")
    if not _PLAIN.fullmatch(text):
        raise wrong
    if "://" not in text:
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise wrong from None
    host = parts.netloc.removesuffix(f":{port}") if port is not None else parts.netloc
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(host) or port == 0:
        raise wrong
    if parts.query or parts.fragment or not _PATH.fullmatch(parts.path):
        raise wrong
    default = 443 if parts.scheme == "https" else 80
    return Place(scheme=parts.scheme, host=host.lower(), port=port or default, path=parts.path.rstrip("/"))
