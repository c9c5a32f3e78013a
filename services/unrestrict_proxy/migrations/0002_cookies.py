"""Cookies of users, sealed."""

from __future__ import annotations

from alembic import op

from services.unrestrict_proxy import tables

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    tables.metadata.create_all(op.get_bind(), checkfirst=True)
