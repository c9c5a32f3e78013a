"""Schema `storage` beside its event store."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TIMESTAMP, UUID

metadata = sa.MetaData(schema="storage")

files = sa.Table(
    "files",
    metadata,
    sa.Column("file_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("owner", UUID(as_uuid=True), nullable=False),
    sa.Column("job_id", UUID(as_uuid=True), nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("location", sa.Text, nullable=False, unique=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("stored_at", TIMESTAMP(timezone=True), nullable=False),
    sa.UniqueConstraint("job_id", "key"),
)
