"""Their calls about object storage of the user's own, one for each kind."""

from __future__ import annotations

from litestar import Response
from msgspec import UNSET

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
from services.gateway.dialects import AnyRequest, reply
from services.gateway.dialects.jobs import answers, credentials, shown, translate
from services.gateway.dialects.jobs.desk import VERIFY_SECONDS, Desk, Handler, Table, actor
from services.gateway.dialects.jobs.translate import Invalid

KINDS: dict[str, tuple[Provider, type[credentials.Target], str, str]] = {
    "s3": ("s3", credentials.S3, "S3 storage", "S3 storage configured successfully"),
    "blob": ("blob", credentials.Blob, "Azure Blob storage", "Azure Blob storage configured successfully"),
    "gcs": ("gcs", credentials.Gcs, "Google Cloud Storage", "Google Cloud Storage configured successfully"),
    "oss": ("oss", credentials.Oss, "Alibaba OSS storage", "Alibaba OSS storage configured successfully"),
    "bucket": ("s3", credentials.S3, "Bucket configuration", "Bucket configuration updated successfully"),
}
"""By their path: which provider, what is told of it, its name, and what is said when it is kept."""


def _configuring(provider: Provider, kind: type[credentials.Target], kept: str) -> Handler:
    async def configure(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
        given = credentials.told(translate.decode(await request.body(), kind))
        command = ConfigureTarget(owner=key.owner, target_id=new_id(), credentials={**given, "provider": provider})
        try:
            info = await desk.ask.other(command, TargetInfo, actor=actor(key), timeout=VERIFY_SECONDS)
        except Refused as refused:
            raise Invalid(answers.target_refused(refused.refusal)) from refused
        return reply(
            shown.TargetKept(
                message=kept,
                provider=provider,
                container_or_bucket=info.bucket,
                folder_prefix=info.folder_prefix or UNSET,
            )
        )

    return configure


def _removing(provider: Provider, removed: str) -> Handler:
    async def remove(desk: Desk, _: AnyRequest, key: KeyHolder) -> Response[bytes]:
        await desk.ask.other(RemoveTarget(owner=key.owner, provider=provider), type(None), actor=actor(key))
        return reply(shown.Message(message=removed))

    return remove


def _showing(provider: Provider) -> Handler:
    async def show(desk: Desk, _: AnyRequest, key: KeyHolder) -> Response[bytes]:
        try:
            info = await desk.ask.other(ReadTarget(owner=key.owner, provider=provider), TargetInfo)
        except Refused as refused:
            if isinstance(refused.refusal, TargetNotFound):
                return reply(shown.NoTarget())
            raise
        return reply(answers.target(info))

    return show


def _calls(path: str, provider: Provider, kind: type[credentials.Target], name: str, kept: str) -> Table:
    return (
        ("POST", f"/user/{path}", _configuring(provider, kind, kept)),
        ("DELETE", f"/user/{path}", _removing(provider, f"{name} removed successfully")),
        ("GET", f"/user/{path}", _showing(provider)),
    )


TABLE: Table = tuple(call for path, told in KINDS.items() for call in _calls(path, *told))
