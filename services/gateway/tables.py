"""Schema `gateway`: what is shown, rebuilt at will from the events of others."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, TIMESTAMP, UUID

metadata = sa.MetaData(schema="gateway")

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("job_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("owner", UUID(as_uuid=True), nullable=False),
    sa.Column("batch_id", UUID(as_uuid=True)),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("submitted_at", TIMESTAMP(timezone=True), nullable=False),
    sa.Column("doc", BYTEA, nullable=False),
    postgresql_with={"fillfactor": 80},
)

sa.Index("jobs_of_owner", jobs.c.owner, jobs.c.number.desc())
sa.Index("jobs_of_owner_in_state", jobs.c.owner, jobs.c.state, jobs.c.number.desc())
sa.Index("jobs_of_batch", jobs.c.batch_id, postgresql_where=jobs.c.batch_id.is_not(None))
