"""Webhooks that name the subtitle."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("alter table notifier.hooks add column if not exists subtitle text")
