"""What each owner may take, and what a job that is queued waits for."""

from __future__ import annotations

from alembic import op

from services.job import tables

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    tables.limits.create(op.get_bind(), checkfirst=True)
    op.execute("alter table job.jobs add column if not exists waiting text")
    op.execute(
        "create index if not exists jobs_shut_out on job.jobs (not_before)"
        " where state = 'queued' and waiting = 'window'"
    )
