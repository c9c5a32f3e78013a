"""Signed links to one request against a storage service: anybody who has one can make that request until it expires.

OpenDAL's are not used, in the version that is pinned: for Azure they let their holder write and delete as well, or are
the user's whole SAS; for Google they fail on names with blanks; none can name a request that ends an upload.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Struct

from services.storage.targets.credentials import S3, Blob, Credentials, Gcs, Oss
from services.storage.targets.places import Place

DISPOSITION = "response-content-disposition"
LONGEST_SECONDS = 7 * 24 * 3600
"""What S3 and Google take."""

_AZURE_VERSION = "2020-12-06"


class CannotSign(Exception):
    """A shared access signature can not be narrowed to one request; an account key is needed for links."""


class Link(Struct, frozen=True, kw_only=True):
    """One request. `key` empty means the bucket itself."""

    method: str
    key: str
    query: Mapping[str, str] = {}
    seconds: int

    def __repr__(self) -> str:
        return f"Link({self.method} {self.key!r})"


def sign(credentials: Credentials, link: Link, now: datetime) -> str:
    """The URL. Raises CannotSign."""
    match credentials:
        case S3():
            return _s3(credentials, link, now)
        case Gcs():
            return _google(credentials, link, now)
        case Oss():
            return _oss(credentials, link, now)
        case Blob():
            return _azure(credentials, link, now)


def _s3(credentials: S3, link: Link, now: datetime) -> str:
    def signature(text: str) -> str:
        key = b"AWS4" + credentials.secret_key.encode()
        for part in (f"{now:%Y%m%d}", credentials.region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), hashlib.sha256)
        return hmac.digest(key, text.encode(), hashlib.sha256).hex()

    scope = f"{now:%Y%m%d}/{credentials.region}/s3/aws4_request"
    signer = _Version4(
        algorithm="AWS4-HMAC-SHA256", prefix="X-Amz", who=credentials.access_key, scope=scope, signature=signature
    )
    return signer.url(credentials.place(), f"/{credentials.bucket}/{link.key}", link, now)


def _google(credentials: Gcs, link: Link, now: datetime) -> str:
    account = credentials.account()

    def signature(text: str) -> str:
        return account.signer().sign(text.encode(), PKCS1v15(), SHA256()).hex()

    scope = f"{now:%Y%m%d}/auto/storage/goog4_request"
    signer = _Version4(
        algorithm="GOOG4-RSA-SHA256", prefix="X-Goog", who=account.client_email, scope=scope, signature=signature
    )
    return signer.url(credentials.place(), f"/{credentials.bucket}/{link.key}", link, now)


class _Version4(Struct, frozen=True, kw_only=True):
    """What Amazon calls version 4, and Google took over."""

    algorithm: str
    prefix: str
    who: str
    scope: str
    signature: Callable[[str], str]

    def url(self, place: Place, path: str, link: Link, now: datetime) -> str:
        stamp = f"{now:%Y%m%dT%H%M%SZ}"
        fields = {
            **link.query,
            f"{self.prefix}-Algorithm": self.algorithm,
            f"{self.prefix}-Credential": f"{self.who}/{self.scope}",
            f"{self.prefix}-Date": stamp,
            f"{self.prefix}-Expires": str(link.seconds),
            f"{self.prefix}-SignedHeaders": "host",
        }
        query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in sorted(fields.items()))
        full = quote(place.path + path, safe="/-_.~")
        asked = "\n".join((link.method, full, query, f"host:{place.netloc}\n", "host", "UNSIGNED-PAYLOAD"))
        text = "\n".join((self.algorithm, stamp, self.scope, hashlib.sha256(asked.encode()).hexdigest()))
        return f"{place.scheme}://{place.netloc}{full}?{query}&{self.prefix}-Signature={self.signature(text)}"


def _oss(credentials: Oss, link: Link, now: datetime) -> str:
    expires = str(int((now + timedelta(seconds=link.seconds)).timestamp()))
    signed = "&".join(
        f"{name}={value}" if value else name for name, value in sorted(link.query.items()) if name != "prefix"
    )
    resource = f"/{credentials.bucket}/{link.key}" + (f"?{signed}" if signed else "")
    text = f"{link.method}\n\n\n{expires}\n{resource}"
    mac = hmac.digest(credentials.access_key_secret.encode(), text.encode(), hashlib.sha1)
    fields = {
        **link.query,
        "OSSAccessKeyId": credentials.access_key_id,
        "Expires": expires,
        "Signature": base64.b64encode(mac).decode(),
    }
    place = credentials.place()
    path = f"/{credentials.bucket}/{link.key}" if credentials.by_path else f"/{link.key}"
    return f"{place.url}{quote(path, safe='/-_.~')}?{_query(fields)}"


def _azure(credentials: Blob, link: Link, now: datetime) -> str:
    if credentials.account_key is None:
        raise CannotSign("this storage was set up with a SAS token; links need an account key")
    place = credentials.place()
    fields = {
        "sp": {"GET": "r", "HEAD": "r", "DELETE": "d"}[link.method],
        "se": f"{(now + timedelta(seconds=link.seconds)).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "spr": "https" if place.secure else "https,http",
        "sv": _AZURE_VERSION,
        "sr": "b",
        "rscd": link.query.get(DISPOSITION, ""),
    }
    resource = f"/blob/{credentials.account_name}/{credentials.container}/{link.key}"
    text = "\n".join(
        (fields["sp"], "", fields["se"], resource, "", "", fields["spr"], fields["sv"], fields["sr"], "", "", "",
         fields["rscd"], "", "", "")
    )  # fmt: skip
    mac = hmac.digest(base64.b64decode(credentials.account_key), text.encode(), hashlib.sha256)
    fields["sig"] = base64.b64encode(mac).decode()
    path = quote(f"/{credentials.container}/{link.key}", safe="/-_.~")
    return f"{place.url}{path}?{_query({name: value for name, value in fields.items() if value})}"


def _query(fields: Mapping[str, str]) -> str:
    return "&".join(f"{_quoted(name)}={_quoted(value)}" if value else _quoted(name) for name, value in fields.items())


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
