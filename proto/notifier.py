"""What the notifier accepts and announces: webhooks, their deliveries and attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from libs.message import Command, Event, Query

Instant = Annotated[datetime, Meta(tz=True)]


class RotateWebhookSecret(Command, tag="notifier.rotate_secret", kw_only=True, frozen=True):
    """The reply is the new secret as a JSON string; it is kept sealed and never announced."""

    owner: UUID


class ReadWebhookSecret(Query, tag="notifier.secret", kw_only=True, frozen=True):
    owner: UUID


class ReadDeliveries(Query, tag="notifier.deliveries", kw_only=True, frozen=True):
    """Attempts of one job's webhook; the reply is a JSON list of `WebhookAttempted` bodies."""

    owner: UUID | None
    job_id: UUID


class WebhookAttempted(Event, tag="notifier.webhook_attempted", kw_only=True, frozen=True):
    delivery_id: UUID
    owner: UUID
    job_id: UUID
    number: int
    outcome: Literal["delivered", "failed"]
    status: int | None
    error: str | None
    elapsed_ms: int
    at: Instant
    next_attempt_at: Instant | None = None
    """None when there will be no other attempt."""
