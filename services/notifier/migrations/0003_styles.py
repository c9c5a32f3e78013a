"""Webhooks in the words of an older edition."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for table in ("hooks", "batches"):
        op.execute(f"alter table notifier.{table} add column if not exists style text not null default 'current'")
