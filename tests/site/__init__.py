"""The offline test media site: what real extractors and clients need, on one local address, with scripted faults."""

from __future__ import annotations

from .content import content, png, sha256
from .files import HOSTILE_NAMES
from .hits import Hit
from .media import Media, pictures
from .process import SiteProcess
from .server import HOSTS, MediaSite

__all__ = [
    "HOSTILE_NAMES",
    "HOSTS",
    "Hit",
    "Media",
    "MediaSite",
    "SiteProcess",
    "content",
    "pictures",
    "png",
    "sha256",
]
