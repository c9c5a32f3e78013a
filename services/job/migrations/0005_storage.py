"""What each job keeps and has reserved of its owner's storage; what is kept follows from the events."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

KEPT = """
with items as (
  select stream_id, version, type, (convert_from(data, 'UTF8')::jsonb -> 'item' ->> 'size')::bigint as size
  from job.events where type in ('job.item_completed', 'job.files_deleted')
), kept as (
  select stream_id, sum(size) as size from items i
  where size is not null and not exists (
    select from items d where d.stream_id = i.stream_id and d.type = 'job.files_deleted' and d.version > i.version
  ) group by stream_id
)
update job.jobs set kept = kept.size from kept where job_id = kept.stream_id
"""


def upgrade() -> None:
    op.execute("alter table job.jobs add column if not exists kept bigint not null default 0")
    op.execute("alter table job.jobs add column if not exists reserved bigint not null default 0")
    op.execute(KEPT)
    op.execute(
        "create index if not exists jobs_taking on job.jobs (owner) include (kept, reserved, job_id)"
        " where kept + reserved > 0"
    )
