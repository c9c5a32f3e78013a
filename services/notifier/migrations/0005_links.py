"""Webhooks that link to the file."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("alter table notifier.hooks add column if not exists file_id uuid")
