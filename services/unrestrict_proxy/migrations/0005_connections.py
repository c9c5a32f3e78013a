"""Connections and requests of those who fetch files, counted over all processes."""

from __future__ import annotations

from alembic import op

from services.unrestrict_proxy import tables

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    tables.metadata.create_all(op.get_bind(), checkfirst=True)
