"""What each user may take."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("alter table auth.users add column if not exists limits bytea")
