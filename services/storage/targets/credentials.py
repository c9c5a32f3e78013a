"""What users tell us of their object storage, checked as it comes in, and where that leads."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Struct

from libs.egress.addresses import literal_address
from libs.names import safe_name
from services.storage.domain import check_folders, folders, safe_directory
from services.storage.targets.places import Place, place_of

LONGEST_KEY = 1000
"""Bytes of UTF-8; the services take 1024."""
LONGEST_ROOT = 400
GOOGLE_TOKENS = "https://oauth2.googleapis.com/token"
GOOGLE_STORAGE = "https://storage.googleapis.com"

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]")
_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
"""For what becomes a part of a host name."""
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
_PLAIN = re.compile(r"[\x21-\x7e]{1,1024}")


class _Credentials(Struct, frozen=True, kw_only=True, tag_field="provider"):
    folder_prefix: str | None = None
    base_folder: str = "videos"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def __rich_repr__(self) -> Any:
        yield "..."

    @property
    def _template(self) -> str:
        return f"{self.folder_prefix or ''}/{self.base_folder}"

    def root(self) -> PurePosixPath:
        """What every key of this target begins with, up to the first folder that is named after a file; `.` for
        nothing."""
        return safe_directory(tuple(takewhile(lambda part: "{" not in part, re.split(r"[\\/]", self._template))))

    def key(self, folder: tuple[str, ...], name: str, words: Mapping[str, str] | None = None) -> str:
        """`words` are what fields in the prefix and the base folder become. Folders that would make it longer than
        services take are left out, the deepest first."""
        parts = safe_directory((*folders(self._template, words or {}), *folder)).parts
        while True:
            key = PurePosixPath(*parts, safe_name(name))
            if len(str(key).encode()) <= LONGEST_KEY:
                return str(key)
            parts = parts[:-1]

    def _check_root(self) -> None:
        if any("\ud800" <= letter <= "\udfff" for letter in self._template):
            raise ValueError("folder_prefix and base_folder must be text; half a surrogate pair is none")
        check_folders(self._template)
        if len(self._template.encode()) > LONGEST_ROOT:
            raise ValueError(f"folder_prefix and base_folder may have {LONGEST_ROOT} bytes together")


class S3(_Credentials, frozen=True, kw_only=True, tag="s3"):
    endpoint: str
    bucket: str
    region: str
    access_key: str
    secret_key: str

    def __post_init__(self) -> None:
        self._check_root()
        _matches("bucket", _BUCKET, self.bucket)
        _matches("region", _REGION, self.region)
        _matches("access_key", _PLAIN, self.access_key)
        _matches("secret_key", _PLAIN, self.secret_key)
        self.place()

    @property
    def container_or_bucket(self) -> str:
        return self.bucket

    def place(self) -> Place:
        return place_of("endpoint", self.endpoint)

    def options(self, token: str | None) -> dict[str, str]:
        """For OpenDAL. All four leave it nothing to look for: it would ask the environment and metadata servers."""
        del token
        return {
            "scheme": "s3",
            "endpoint": self.place().url,
            "bucket": self.bucket,
            "region": self.region,
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
            "disable_config_load": "true",
            "disable_ec2_metadata": "true",
        }


class Blob(_Credentials, frozen=True, kw_only=True, tag="blob"):
    account_name: str
    container: str
    account_key: str | None = None
    sas_token: str | None = None
    endpoint: str | None = None
    """For emulators; it ends in the account's name there."""

    def __post_init__(self) -> None:
        self._check_root()
        _matches("account_name", _ACCOUNT, self.account_name)
        _matches("container", _LABEL, self.container)
        if bool(self.account_key) == bool(self.sas_token):
            raise ValueError("Either account_key or sas_token must be provided")
        if self.account_key:
            _from_base64("account_key", self.account_key)
        if self.sas_token:
            _matches("sas_token", re.compile(r"\??[A-Za-z0-9%=&:_.~+/-]{8,4096}"), self.sas_token)
        self.place()

    @property
    def container_or_bucket(self) -> str:
        return self.container

    def place(self) -> Place:
        return place_of("endpoint", self.endpoint or f"https://{self.account_name}.blob.core.windows.net")

    def options(self, token: str | None) -> dict[str, str]:
        del token
        secret = (
            {"account_key": self.account_key}
            if self.account_key
            else {"sas_token": (self.sas_token or "").removeprefix("?")}
        )
        return {
            "scheme": "azblob",
            "endpoint": self.place().url,
            "container": self.container,
            "account_name": self.account_name,
            **secret,
        }


class ServiceAccount(Struct, frozen=True, kw_only=True):
    """What is used of Google's key file. Its other kinds name files and addresses to read, and are not taken."""

    client_email: str
    private_key: str
    token_uri: str = GOOGLE_TOKENS

    def __repr__(self) -> str:
        return "ServiceAccount(...)"

    def signer(self) -> RSAPrivateKey:
        key = load_pem_private_key(self.private_key.encode(), password=None)
        if not isinstance(key, RSAPrivateKey):
            raise TypeError("not an RSA key")
        return key


class Gcs(_Credentials, frozen=True, kw_only=True, tag="gcs"):
    project_id: str
    bucket: str
    service_account_json: str
    endpoint: str | None = None
    """For emulators."""

    def __post_init__(self) -> None:
        self._check_root()
        _matches("project_id", _PLAIN, self.project_id)
        _matches("bucket", _BUCKET, self.bucket)
        self.place()
        self.tokens()

    @property
    def container_or_bucket(self) -> str:
        return self.bucket

    def place(self) -> Place:
        return place_of("endpoint", self.endpoint or GOOGLE_STORAGE)

    def tokens(self) -> Place:
        """Where an access token is asked for."""
        return place_of("token_uri", self.account().token_uri)

    def account(self) -> ServiceAccount:
        text = self.service_account_json.strip()
        try:
            raw = text.encode() if text.startswith("{") else base64.b64decode(text, validate=True)
            data = json.loads(raw)
            if data["type"] != "service_account":
                raise ValueError("another type")
            account = msgspec.convert(data, ServiceAccount)
            account.signer()
        except (ValueError, TypeError, KeyError, msgspec.ValidationError):
            # The cause quotes what it could not read, and that is the secret.
            raise ValueError("service_account_json is not the key file of a service account") from None
        return account

    def options(self, token: str | None) -> dict[str, str]:
        return {
            "scheme": "gcs",
            "endpoint": self.place().url,
            "bucket": self.bucket,
            "token": token or "",
            "disable_config_load": "true",
            "disable_vm_metadata": "true",
        }


class Oss(_Credentials, frozen=True, kw_only=True, tag="oss"):
    endpoint: str
    bucket: str
    access_key_id: str
    access_key_secret: str

    def __post_init__(self) -> None:
        self._check_root()
        _matches("bucket", _LABEL, self.bucket)
        _matches("access_key_id", _PLAIN, self.access_key_id)
        _matches("access_key_secret", _PLAIN, self.access_key_secret)
        self.place()

    @property
    def container_or_bucket(self) -> str:
        return self.bucket

    @property
    def by_path(self) -> bool:
        """An address has no subdomains, so the bucket stands in the path."""
        return literal_address(place_of("endpoint", self.endpoint).host) is not None

    def place(self) -> Place:
        place = place_of("endpoint", self.endpoint)
        return place if self.by_path else place.below(self.bucket)

    def options(self, token: str | None) -> dict[str, str]:
        del token
        return {
            "scheme": "oss",
            "endpoint": place_of("endpoint", self.endpoint).url,
            "bucket": self.bucket,
            "access_key_id": self.access_key_id,
            "access_key_secret": self.access_key_secret,
            "addressing_style": "path" if self.by_path else "virtual",
        }


Credentials = S3 | Blob | Gcs | Oss


def described(one: Credentials) -> dict[str, Any]:
    """What may be shown of it; of the key its first characters, so that its owner knows which it is."""
    known = {S3: "access_key", Blob: "account_name", Gcs: "project_id", Oss: "access_key_id"}[type(one)]
    visible = str(getattr(one, known))
    masked = visible if isinstance(one, (Blob, Gcs)) else f"{visible[:4]}***"
    return {
        "provider": str(one.__struct_config__.tag),
        "bucket": one.container_or_bucket,
        "endpoint": one.endpoint,
        "region": one.region if isinstance(one, S3) else None,
        "folder_prefix": one.folder_prefix,
        "base_folder": one.base_folder,
        "masked": masked,
    }


def _matches(field: str, pattern: re.Pattern[str], value: str) -> None:
    if not pattern.fullmatch(value):
        raise ValueError(f"{field} has a form that no service gives it")


def _from_base64(field: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError(f"{field} is not base64") from None
