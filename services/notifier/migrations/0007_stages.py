"""Webhooks that say when a stage is over. Batches have no style any more: their end is told to all alike."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("alter table notifier.hooks add column if not exists stage text")
    op.execute("alter table notifier.batches drop column if exists style")
