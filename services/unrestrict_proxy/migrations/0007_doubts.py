"""Which files an account was refused the bytes of."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("alter table unrestrict_proxy.standings add column if not exists doubts jsonb not null default '{}'")
