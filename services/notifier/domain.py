"""What a webhook says, how it is signed, and when it is tried again. Pure; clock and secret are arguments."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from proto.job import JobCompleted, JobFailed

DELAYS = tuple(timedelta(seconds=s) for s in (5, 30, 180, 900, 3600))
"""Before the second and each later try; after the last there is none."""
FIRST_LEASE = timedelta(seconds=60)
"""A try that ends without a word, because we died, is made again after this."""


class Hook(Struct, frozen=True):
    """What was known of a job when it was submitted, and the first file it stored."""

    link: str
    folder: str | None
    first_file: str | None


def body(event: JobCompleted | JobFailed, hook: Hook) -> bytes:
    """The fields of all editions together: receivers read those they know."""
    common = {"job_id": str(event.job_id), "url": hook.link, "folder": hook.folder}
    if isinstance(event, JobCompleted):
        return msgspec.json.encode(
            {
                "type": "job_completed",
                "status": "completed",
                **common,
                "title": event.title,
                "key": hook.first_file,
                "s3_key": hook.first_file,
                "file_size_bytes": event.size,
                "items": event.items_done,
            }
        )
    return msgspec.json.encode(
        {
            "type": "job_failed",
            "status": "failed",
            **common,
            "error": event.failure.message,
            "error_code": event.failure.code,
        }
    )


def signature(secret: str, raw: bytes, at: datetime) -> str:
    """`t=<unix>,v1=<hex>`: HMAC-SHA256 over time and body, made anew for every try: a receiver can refuse old ones."""
    stamp = int(at.timestamp())
    mac = hmac.new(secret.encode(), f"{stamp}.".encode() + raw, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={mac}"
