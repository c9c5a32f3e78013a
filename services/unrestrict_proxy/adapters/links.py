"""Whose a link is, by its host, and which file it means, by a platform's pattern."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit


def split(url: str) -> SplitResult | None:
    """None for what is no link of the web."""
    try:
        parts = urlsplit(url.strip())
        if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
            return None
    except ValueError:
        return None
    return parts


def domain_of(parts: SplitResult, domains: Collection[str]) -> str | None:
    """The one that the host is or is below."""
    labels = (parts.hostname or "").rstrip(".").split(".")
    tails = (".".join(labels[index:]) for index in range(len(labels)))
    return next((tail for tail in tails if tail in domains), None)


def file_id(url: str, domains: Collection[str], pattern: re.Pattern[str]) -> str | None:
    """The group `id` of the pattern, tried on path and query."""
    parts = split(url)
    if parts is None or domain_of(parts, domains) is None:
        return None
    match = pattern.search(parts.path + (f"?{parts.query}" if parts.query else ""))
    return match["id"] if match else None
