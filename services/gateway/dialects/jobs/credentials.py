"""Their spelling of object storage of the user's own. Whether it is one is for the storage service to say."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct


class Target(Struct, frozen=True, kw_only=True):
    folder_prefix: str | None = None
    base_folder: str | None = None
    folder_name: str | None = None
    """The same, as the workflow node calls it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def __rich_repr__(self) -> Any:
        yield "..."


class S3(Target, frozen=True, kw_only=True):
    endpoint: str
    bucket: str
    region: str
    access_key: str
    secret_key: str


class Blob(Target, frozen=True, kw_only=True):
    """With either `account_key` or `sas_token`."""

    account_name: str
    container: str
    account_key: str | None = None
    sas_token: str | None = None
    endpoint: str | None = None


class Gcs(Target, frozen=True, kw_only=True):
    """`service_account_json` is the key file, as it is or in base64."""

    project_id: str
    bucket: str
    service_account_json: str
    endpoint: str | None = None


class Oss(Target, frozen=True, kw_only=True):
    endpoint: str
    bucket: str
    access_key_id: str
    access_key_secret: str


class InlineS3(S3, frozen=True, kw_only=True, tag_field="provider", tag="s3"):
    pass


class InlineBlob(Blob, frozen=True, kw_only=True, tag_field="provider", tag="blob"):
    pass


class InlineGcs(Gcs, frozen=True, kw_only=True, tag_field="provider", tag="gcs"):
    pass


class InlineOss(Oss, frozen=True, kw_only=True, tag_field="provider", tag="oss"):
    pass


Inline = InlineS3 | InlineBlob | InlineGcs | InlineOss
"""Told with a job, for that job alone."""


def told(target: Target) -> dict[str, object]:
    """What was said; what was left out is for the storage service to choose."""
    said = {name: value for name, value in msgspec.to_builtins(target).items() if value is not None}
    named = said.pop("folder_name", None)
    return said if named is None else {"base_folder": named, **said}
