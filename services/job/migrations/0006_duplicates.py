"""What a job does, in a word by which another submission of the same is known."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("alter table job.jobs add column if not exists fingerprint uuid")
    op.execute("alter table job.jobs add column if not exists submitted_at timestamptz not null default now()")
    op.execute(
        "create index if not exists jobs_alike on job.jobs (owner, fingerprint)"
        " where state in ('queued', 'admitted', 'resolving', 'downloading', 'processing', 'storing')"
    )
