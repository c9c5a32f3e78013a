"""The platforms we know, each an adapter: whose links are whose, and which file a link means."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from proto.unrestrict_proxy import LinkClass
from services.unrestrict_proxy.adapters.contract import HostFile
from services.unrestrict_proxy.adapters.links import domain_of, file_id, split
from services.unrestrict_proxy.adapters.rapidgator import RapidGator
from services.unrestrict_proxy.adapters.realdebrid import RealDebrid


class Platform(Struct, frozen=True, kw_only=True):
    """A platform whose links are known and that nobody speaks to yet."""

    platform: str
    name: str
    domains: tuple[str, ...]
    file: str

    def match(self, url: str) -> HostFile | None:
        identity = file_id(url, self.domains, re.compile(self.file))
        ref = None if identity is None else LinkClass(platform=self.platform, file_ref=identity)
        return None if ref is None else HostFile(ref=ref, url=url)


PLATFORMS: tuple[Any, ...] = (
    RapidGator(),
    RealDebrid(),
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
)

_BY_DOMAIN = {domain: adapter for adapter in PLATFORMS for domain in adapter.domains}


def find(platform: str) -> Any:
    return next((one for one in PLATFORMS if one.platform == platform), None)


def match(url: str) -> HostFile | None:
    """The file of a link, by its host and every parent domain; None when it is nobody's or names no file. A host that
    an operator defined is not in question here: whose it is, is in its account."""
    parts = split(url)
    domain = None if parts is None else domain_of(parts, _BY_DOMAIN)
    found: HostFile | None = None if domain is None else _BY_DOMAIN[domain].match(url)
    return found


def classify(url: str) -> LinkClass | None:
    found = match(url)
    return None if found is None else found.ref
