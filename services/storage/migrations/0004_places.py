"""Under which key an upload goes, so that no two that are under way choose the same."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("alter table storage.uploads add column if not exists place bytea")
    op.execute("create unique index if not exists uploads_to on storage.uploads (place)")
