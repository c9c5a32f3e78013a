"""Links to files of file hosts, and the traffic that they cost."""

from __future__ import annotations

from alembic import op

from services.unrestrict_proxy import tables

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    tables.metadata.create_all(op.get_bind(), checkfirst=True)
