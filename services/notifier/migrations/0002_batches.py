"""Webhooks that hear of stages and of the end of a batch."""

from __future__ import annotations

from alembic import op

from services.notifier import tables

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    tables.metadata.create_all(op.get_bind(), checkfirst=True)
    op.execute("alter table notifier.hooks add column if not exists progress boolean not null default false")
