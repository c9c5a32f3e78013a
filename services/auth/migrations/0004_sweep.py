"""What finds the sessions and lockouts that are over."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("create index if not exists sessions_over on auth.sessions (least(expires_at, ended_at))")
    op.execute("create index if not exists lockouts_over on auth.lockouts (locked_until)")
