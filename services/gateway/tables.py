"""Schema `gateway`: what is shown, rebuilt at will from the events of others; and `blobs`, which is no view."""

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

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("batch_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("owner", UUID(as_uuid=True), nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("folder", sa.Text),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("held", sa.Boolean, nullable=False),
    sa.Column("submitted_at", TIMESTAMP(timezone=True), nullable=False),
    sa.Column("started_at", TIMESTAMP(timezone=True)),
)
sa.Index("batches_of_owner", batches.c.owner, batches.c.submitted_at.desc())

tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("owner", UUID(as_uuid=True), primary_key=True),
    sa.Column("state", sa.Text, primary_key=True),
    sa.Column("block", sa.BigInteger, primary_key=True),
    sa.Column("jobs", sa.BigInteger, nullable=False),
    comment="how many jobs of a block of numbers are in which state now, so that pages need no counting",
)

days = sa.Table(
    "days",
    metadata,
    sa.Column("owner", UUID(as_uuid=True), primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("submitted", sa.BigInteger, nullable=False),
    sa.Column("completed", sa.BigInteger, nullable=False),
    sa.Column("failed", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    comment="what happened on a day (UTC); bytes stored, and seconds from start to end of the jobs that completed",
)

sa.Index("jobs_of_owner", jobs.c.owner, jobs.c.number.desc())
sa.Index("jobs_of_owner_in_state", jobs.c.owner, jobs.c.state, jobs.c.number.desc())
sa.Index("jobs_of_batch", jobs.c.batch_id, postgresql_where=jobs.c.batch_id.is_not(None))

blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("owner", UUID(as_uuid=True), primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("body", BYTEA, nullable=False),
    sa.Column("entries", sa.Integer, nullable=False),
    sa.Column("synced_by", sa.Text),
    sa.Column("updated_at", TIMESTAMP(timezone=True), nullable=False),
    comment="what a client keeps here for itself: the truth, never rebuilt",
)
