"""What users have of each site, so that it is not fetched again."""

from __future__ import annotations

from alembic import op

from services.job import tables

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    tables.metadata.create_all(op.get_bind(), checkfirst=True)
