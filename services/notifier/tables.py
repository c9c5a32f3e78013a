"""Schema `notifier` beside its event store. Secrets are sealed."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, TIMESTAMP, UUID

metadata = sa.MetaData(schema="notifier")
_Instant = TIMESTAMP(timezone=True)

hooks = sa.Table(
    "hooks",
    metadata,
    sa.Column("job_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("owner", UUID(as_uuid=True), nullable=False),
    sa.Column("link", sa.Text, nullable=False),
    sa.Column("folder", sa.Text),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("first_file", sa.Text),
    sa.Column("file_id", UUID(as_uuid=True)),
    sa.Column("subtitle", sa.Text),
    sa.Column("progress", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("style", sa.Text, nullable=False, server_default="current"),
    sa.Column("stage", sa.Text),
    sa.Column("ended_at", _Instant, comment="failed or cancelled, and not begun again since"),
)
sa.Index("hooks_over", hooks.c.ended_at, postgresql_where=hooks.c.ended_at.is_not(None))

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("batch_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("owner", UUID(as_uuid=True), nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("link", sa.Text, nullable=False),
    sa.Column("folder", sa.Text),
    sa.Column("size", sa.Integer, nullable=False),
)

ended = sa.Table(
    "ended",
    metadata,
    sa.Column("batch_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("job_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("completed", sa.Boolean, nullable=False),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("delivery_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("owner", UUID(as_uuid=True), nullable=False),
    sa.Column("job_id", UUID(as_uuid=True), nullable=False, index=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("body", BYTEA, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", _Instant),
    sa.Column("channel", sa.Text, nullable=False, server_default="webhook"),
    sa.Column("noted_at", _Instant, nullable=False, server_default=sa.func.now()),
)
sa.Index("deliveries_over", deliveries.c.noted_at, postgresql_where=deliveries.c.due_at.is_(None))
sa.Index("deliveries_due", deliveries.c.due_at, postgresql_where=deliveries.c.due_at.is_not(None))

secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("owner", UUID(as_uuid=True), primary_key=True),
    sa.Column("sealed", BYTEA, nullable=False),
)

slack = sa.Table(
    "slack",
    metadata,
    sa.Column("owner", UUID(as_uuid=True), primary_key=True),
    sa.Column("sealed", BYTEA, nullable=False),
    sa.Column("masked", sa.Text, nullable=False),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("configured_at", _Instant, nullable=False),
)
