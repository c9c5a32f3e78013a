"""Keys of programs that were written for an older edition of the jobs API."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for column in ("webhook_style", "status_style"):
        op.execute(f"alter table auth.keys add column if not exists {column} text not null default 'current'")
