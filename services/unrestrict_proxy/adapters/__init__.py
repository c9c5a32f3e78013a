"""The platforms we know: whose links are whose, and which file a link means."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from msgspec import Struct

from proto.unrestrict_proxy import LinkClass


class Platform(Struct, frozen=True, kw_only=True):
    """`file` finds the file's id in path and query; alias domains share ids, so they collapse to one reference."""

    platform: str
    name: str
    domains: tuple[str, ...]
    file: str


PLATFORMS: tuple[Platform, ...] = (
    Platform(
        platform="rapidgator",
        name="RapidGator",
        domains=("rapidgator.net", "rapidgator.asia", "rg.to"),
        file=r"^/file/(?P<id>[0-9a-f]{32}|\d+)",
    ),
    Platform(
        platform="keep2share",
        name="Keep2Share",
        domains=("keep2share.cc", "k2s.cc", "k2share.cc", "fboom.me", "fileboom.me", "tezfiles.com"),
        file=r"^/(?:file/)?(?P<id>[0-9a-f]{13,})",
    ),
    Platform(
        platform="1fichier",
        name="1fichier",
        domains=(
            "1fichier.com",
            "alterupload.com",
            "cjoint.net",
            "desfichiers.com",
            "dfichiers.com",
            "megadl.fr",
            "mesfichiers.org",
            "piecejointe.net",
            "pjointe.com",
            "tenvoi.com",
            "dl4free.com",
        ),
        file=r"^/?\?(?P<id>[0-9a-z]{5,20})",
    ),
    Platform(
        platform="nitroflare",
        name="Nitroflare",
        domains=("nitroflare.com", "nitro.download", "nitroflare.net"),
        file=r"^/(?:view|watch)/(?P<id>[0-9A-Z]+)",
    ),
    Platform(
        platform="ddownload",
        name="DDownload",
        domains=("ddownload.com", "ddl.to"),
        file=r"^/(?P<id>[0-9a-z]{12})(?:/|$)",
    ),
    Platform(
        platform="katfile",
        name="Katfile",
        domains=("katfile.com", "katfile.online", "katfile.cloud", "katfile.vip"),
        file=r"^/(?P<id>[0-9a-z]{12})(?:/|$)",
    ),
    Platform(
        platform="turbobit",
        name="Turbobit",
        domains=("turbobit.net", "trbt.cc"),
        file=r"^/(?P<id>[0-9a-z]{12})(?:\.html|/|$)",
    ),
)

_BY_DOMAIN = {domain: platform for platform in PLATFORMS for domain in platform.domains}
_FILE = {platform.platform: re.compile(platform.file) for platform in PLATFORMS}


def find(platform: str) -> Platform | None:
    return next((one for one in PLATFORMS if one.platform == platform), None)


def classify(url: str) -> LinkClass | None:
    """The platform of a link by its host and every parent domain; None when it is nobody's or names no file."""
    try:
        parts = urlsplit(url)
        labels = (parts.hostname or "").rstrip(".").split(".")
    except ValueError:
        return None
    for index in range(len(labels) - 1):
        platform = _BY_DOMAIN.get(".".join(labels[index:]))
        if platform is not None:
            match = _FILE[platform.platform].search(parts.path + (f"?{parts.query}" if parts.query else ""))
            return LinkClass(platform=platform.platform, file_ref=match["id"]) if match else None
    return None
