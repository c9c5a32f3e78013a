"""Batches as shown, and what is counted of jobs. The view of jobs is built anew, so that the counts begin at zero."""

from __future__ import annotations

from alembic import op

from services.gateway import tables

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    tables.metadata.create_all(op.get_bind(), checkfirst=True)
    op.execute("truncate gateway.jobs")
    op.execute("delete from gateway.checkpoints where name = 'gateway.jobs'")
