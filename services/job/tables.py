"""Schema `job` beside its event store: what admission reads, kept in the transaction that appends the events."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, TIMESTAMP, UUID

metadata = sa.MetaData(schema="job")

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("job_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("owner", UUID(as_uuid=True), nullable=False),
    sa.Column("batch_id", UUID(as_uuid=True)),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("not_before", TIMESTAMP(timezone=True)),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("worker_id", UUID(as_uuid=True)),
    sa.Column("waiting", sa.Text),
    sa.Column("kept", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("reserved", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("fingerprint", UUID(as_uuid=True)),
    sa.Column("submitted_at", TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("changed_at", TIMESTAMP(timezone=True), nullable=False),
    postgresql_with={"fillfactor": 80},
)

archive = sa.Table(
    "archive",
    metadata,
    sa.Column("owner", UUID(as_uuid=True), primary_key=True),
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("file_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("stored", sa.Boolean, nullable=False),
    comment="a row for each file that was stored of an item; the item is there as long as one of them is",
)

archive_sites = sa.Table(
    "archive_sites",
    metadata,
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("site", sa.Text, primary_key=True),
    comment="to which sites, as the engines name them, links of a host have led",
)

sa.Index(
    "jobs_alike",
    jobs.c.owner,
    jobs.c.fingerprint,
    postgresql_where=jobs.c.state.in_(["queued", "admitted", "resolving", "downloading", "processing", "storing"]),
)
sa.Index("jobs_held", jobs.c.batch_id, postgresql_where=jobs.c.state == "held")
sa.Index("jobs_waiting", jobs.c.owner, jobs.c.priority, jobs.c.number, postgresql_where=jobs.c.state == "queued")
sa.Index(
    "jobs_active",
    jobs.c.state,
    postgresql_where=jobs.c.state.in_(["admitted", "resolving", "downloading", "processing", "storing"]),
)
sa.Index("jobs_shut_out", jobs.c.not_before, postgresql_where=(jobs.c.state == "queued") & (jobs.c.waiting == "window"))
sa.Index(
    "jobs_taking",
    jobs.c.owner,
    postgresql_include=["kept", "reserved", "job_id"],
    postgresql_where=jobs.c.kept + jobs.c.reserved > 0,
)

limits = sa.Table(
    "limits",
    metadata,
    sa.Column("owner", UUID(as_uuid=True), primary_key=True),
    sa.Column("concurrent", sa.Integer),
    sa.Column("bandwidth", sa.BigInteger),
    sa.Column("storage", sa.BigInteger),
    sa.Column("windows", BYTEA),
    comment="what auth announced of each owner last",
)
