"""Schema `scheduler` beside its event store."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, TIMESTAMP, UUID

metadata = sa.MetaData(schema="scheduler")
_Instant = TIMESTAMP(timezone=True)

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("schedule_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("owner", UUID(as_uuid=True), nullable=False),
    sa.Column("slug", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("cron", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("options", BYTEA, nullable=False),
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("next_run", _Instant),
    sa.UniqueConstraint("owner", "slug"),
)
sa.Index("schedules_due", schedules.c.next_run, postgresql_where=schedules.c.next_run.is_not(None))

alarms = sa.Table(
    "alarms",
    metadata,
    sa.Column("job_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("due_at", _Instant, nullable=False, index=True),
)
