"""Their calls about object storage of the user's own, one for each kind."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response

from libs.message import Refused, new_id
from proto.auth import KeyHolder
from proto.storage import (
    ConfigureTarget,
    Provider,
    ReadTarget,
    RemoveTarget,
    TargetInfo,
    TargetNotFound,
)
from services.gateway.dialects import reply
from services.gateway.dialects.jobs import answers
from services.gateway.dialects.jobs.desk import VERIFY_SECONDS, AnyRequest, Desk, Handler, Table, actor
from services.gateway.dialects.jobs.translate import Invalid

KINDS: dict[str, tuple[Provider, str, str]] = {
    "s3": ("s3", "S3 storage", "S3 storage configured successfully"),
    "blob": ("blob", "Azure Blob storage", "Azure Blob storage configured successfully"),
    "gcs": ("gcs", "Google Cloud Storage", "Google Cloud Storage configured successfully"),
    "oss": ("oss", "Alibaba OSS storage", "Alibaba OSS storage configured successfully"),
    "bucket": ("s3", "Bucket configuration", "Bucket configuration updated successfully"),
}
"""By their path: which provider, its name, and what is said when it is kept."""


def table(desk: Desk) -> Table:
    rows: list[Any] = []
    for path, (provider, name, kept) in KINDS.items():
        rows += [
            ("POST", f"/user/{path}", _configuring(desk, provider, kept)),
            ("DELETE", f"/user/{path}", _removing(desk, provider, f"{name} removed successfully")),
            ("GET", f"/user/{path}", _showing(desk, provider)),
        ]
    return tuple(rows)


def _configuring(desk: Desk, provider: Provider, kept: str) -> Handler:
    async def configure(request: AnyRequest, key: KeyHolder) -> Response[bytes]:
        try:
            given = msgspec.json.decode(await request.body(), type=dict[str, object])
        except msgspec.ValidationError as error:
            raise Invalid(str(error), 422) from error
        except msgspec.DecodeError as error:
            raise Invalid("Request body is not valid JSON") from error
        command = ConfigureTarget(owner=key.owner, target_id=new_id(), credentials={**given, "provider": provider})
        try:
            info = await desk.ask.other(command, TargetInfo, actor=actor(key), timeout=VERIFY_SECONDS)
        except Refused as refused:
            raise Invalid(answers.target_refused(refused.refusal)) from refused
        answer: dict[str, object] = {"message": kept, "provider": provider, "container_or_bucket": info.bucket}
        if info.folder_prefix:
            answer["folder_prefix"] = info.folder_prefix
        return reply(answer)

    return configure


def _removing(desk: Desk, provider: Provider, removed: str) -> Handler:
    async def remove(_: AnyRequest, key: KeyHolder) -> Response[bytes]:
        await desk.ask.other(RemoveTarget(owner=key.owner, provider=provider), type(None), actor=actor(key))
        return reply({"message": removed})

    return remove


def _showing(desk: Desk, provider: Provider) -> Handler:
    async def show(_: AnyRequest, key: KeyHolder) -> Response[bytes]:
        try:
            info = await desk.ask.other(ReadTarget(owner=key.owner, provider=provider), TargetInfo)
        except Refused as refused:
            if isinstance(refused.refusal, TargetNotFound):
                return reply({"configured": False})
            raise
        return reply(answers.target(info))

    return show
