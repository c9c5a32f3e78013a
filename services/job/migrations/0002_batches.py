"""Jobs know their batch, so that a held one can be started."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("alter table job.jobs add column if not exists batch_id uuid")
    op.execute("create index if not exists jobs_held on job.jobs (batch_id) where state = 'held'")
