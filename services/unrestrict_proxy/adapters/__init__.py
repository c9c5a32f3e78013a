"""The platforms we know, each an adapter: whose links are whose, and which file a link means."""

from __future__ import annotations

from proto.unrestrict_proxy import LinkClass
from services.unrestrict_proxy.adapters.alldebrid import AllDebrid
from services.unrestrict_proxy.adapters.contract import Adapter, HostFile
from services.unrestrict_proxy.adapters.debridlink import DebridLink
from services.unrestrict_proxy.adapters.generic import Generic
from services.unrestrict_proxy.adapters.keep2share import Keep2Share
from services.unrestrict_proxy.adapters.links import domain_of, split
from services.unrestrict_proxy.adapters.linksnappy import LinkSnappy
from services.unrestrict_proxy.adapters.nitroflare import Nitroflare
from services.unrestrict_proxy.adapters.onefichier import OneFichier
from services.unrestrict_proxy.adapters.premiumize import Premiumize
from services.unrestrict_proxy.adapters.rapidgator import RapidGator
from services.unrestrict_proxy.adapters.realdebrid import RealDebrid
from services.unrestrict_proxy.adapters.torbox import TorBox

PLATFORMS: tuple[Adapter, ...] = (
    RapidGator(),
    Keep2Share(),
    OneFichier(),
    Nitroflare(),
    RealDebrid(),
    AllDebrid(),
    Premiumize(),
    DebridLink(),
    TorBox(),
    LinkSnappy(),
    Generic(),
)

_BY_DOMAIN = {domain: adapter for adapter in PLATFORMS for domain in adapter.domains}


def find(platform: str) -> Adapter | None:
    return next((one for one in PLATFORMS if one.platform == platform), None)


def match(url: str) -> HostFile | None:
    """The file of a link, by its host and every parent domain; None when it is nobody's or names no file. A host that
    an operator defined is not in question here: whose it is, is in its account."""
    parts = split(url)
    domain = None if parts is None else domain_of(parts, _BY_DOMAIN)
    return None if domain is None else _BY_DOMAIN[domain].match(url)


def classify(url: str) -> LinkClass | None:
    found = match(url)
    return None if found is None else found.ref
