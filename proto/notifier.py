"""What the notifier accepts and announces: webhooks, their deliveries and attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from libs.message import Command, Event, Query, Refusal, repr_without

Instant = Annotated[datetime, Meta(tz=True)]


NotifyLevel = Literal["all", "errors_only", "warnings_only"]
"""Which ends of jobs are told; a warning is what a site does not have, or not for us."""


class ConfigureSlack(Command, tag="notifier.configure_slack", kw_only=True, frozen=True):
    """A Slack channel that hears how the owner's jobs end, in place of the one before. The reply is `SlackInfo`."""

    owner: UUID
    webhook_url: Annotated[str, Meta(max_length=500)]
    """Of an incoming webhook: who knows it may post there, so it is kept sealed and never announced."""
    level: NotifyLevel = "all"

    def __repr__(self) -> str:
        return repr_without(self, "webhook_url")


class RemoveSlack(Command, tag="notifier.remove_slack", kw_only=True, frozen=True):
    owner: UUID


class ReadSlack(Query, tag="notifier.slack", kw_only=True, frozen=True):
    """The reply is `SlackInfo`."""

    owner: UUID


class SlackInfo(Struct, frozen=True, kw_only=True):
    masked: str
    """What may be shown of the address."""
    level: NotifyLevel
    configured_at: Instant


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
    channel: Literal["webhook", "slack"] = "webhook"


class SlackConfigured(Event, tag="notifier.slack_configured", kw_only=True, frozen=True):
    owner: UUID
    level: NotifyLevel
    at: Instant


class SlackRemoved(Event, tag="notifier.slack_removed", kw_only=True, frozen=True):
    owner: UUID
    at: Instant


class SlackRejected(Refusal, tag="notifier.slack_rejected", kw_only=True, frozen=True):
    """This is not the address of an incoming webhook of Slack's."""


class SlackNotFound(Refusal, tag="notifier.slack_not_found", kw_only=True, frozen=True):
    pass
