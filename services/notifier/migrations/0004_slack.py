"""Slack channels."""

from __future__ import annotations

from alembic import op

from services.notifier import tables

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    tables.slack.create(op.get_bind(), checkfirst=True)
    op.execute("alter table notifier.deliveries add column if not exists channel text not null default 'webhook'")
