"""Sites of the operator's own that gallery-dl can read but does not know by name."""

from __future__ import annotations

from typing import Self
from urllib.parse import urlsplit


class Instances(str):
    """As an operator names them: `software=https://host,...`."""

    __slots__ = ()

    @classmethod
    def read_setting(cls, value: object) -> Self:
        """Raises BadInstances."""
        parse_instances(str(value))
        return cls(value)


class BadInstances(ValueError):
    """A part is not `software=https://host`."""


def parse_instances(text: str) -> dict[str, list[str]]:
    """Roots by software. Raises BadInstances."""
    found: dict[str, list[str]] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        software, equals, root = part.partition("=")
        parts = urlsplit(root)
        if not equals or not software.isidentifier() or parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInstances(f"{part!r} is not software=https://host")
        found.setdefault(software, []).append(root.rstrip("/"))
    return found
