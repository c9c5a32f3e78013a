"""How old deliveries and the hooks of ended jobs are, and batches only as long as there is something to tell of them.

Of a hook that is there already nobody knows whether its job has ended: it counts as ended now, until it goes on.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("alter table notifier.deliveries add column if not exists noted_at timestamptz not null default now()")
    op.execute("create index if not exists deliveries_over on notifier.deliveries (noted_at) where due_at is null")
    op.execute("alter table notifier.hooks add column if not exists ended_at timestamptz default now()")
    op.execute("alter table notifier.hooks alter column ended_at drop default")
    op.execute("create index if not exists hooks_over on notifier.hooks (ended_at) where ended_at is not null")
    op.execute(
        "delete from notifier.batches b"
        " where (select count(*) from notifier.ended e where e.batch_id = b.batch_id) >= b.size"
    )
    op.execute(
        "delete from notifier.ended e where not exists (select from notifier.batches b where b.batch_id = e.batch_id)"
    )
