"""What clients keep here for themselves."""

from __future__ import annotations

from alembic import op

from services.gateway import tables

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    tables.blobs.create(op.get_bind(), checkfirst=True)
