"""Schema `storage` beside its event store."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, TIMESTAMP, UUID

metadata = sa.MetaData(schema="storage")

files = sa.Table(
    "files",
    metadata,
    sa.Column("file_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("owner", UUID(as_uuid=True), nullable=False),
    sa.Column("job_id", UUID(as_uuid=True), nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("stored_at", TIMESTAMP(timezone=True), nullable=False),
    sa.Column("target_id", UUID(as_uuid=True)),
    sa.Column("provider", sa.Text, nullable=False, server_default="local"),
    sa.Column("bucket", sa.Text),
    sa.UniqueConstraint("job_id", "key"),
)
sa.Index("files_with_bytes", files.c.owner, files.c.sha256, postgresql_where=files.c.target_id.is_(None))
sa.Index("files_on_disk", files.c.location, unique=True, postgresql_where=files.c.target_id.is_(None))

erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("file_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("target_id", UUID(as_uuid=True), nullable=False),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("due", TIMESTAMP(timezone=True), nullable=False, index=True),
    comment="what object storage is still to lose",
)

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("job_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("holder", UUID(as_uuid=True), nullable=False),
    sa.Column("until", TIMESTAMP(timezone=True), nullable=False),
    sa.Column("asked_at", TIMESTAMP(timezone=True), nullable=False),
    sa.Column("place", BYTEA, comment="hash of the storage's address and the key there"),
    comment="which process carries a file to object storage, until when that counts, and when it was last asked for",
)
sa.Index("uploads_to", uploads.c.place, unique=True)

targets = sa.Table(
    "targets",
    metadata,
    sa.Column("target_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("owner", UUID(as_uuid=True), nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("bucket", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text),
    sa.Column("region", sa.Text),
    sa.Column("folder_prefix", sa.Text),
    sa.Column("base_folder", sa.Text, nullable=False),
    sa.Column("masked", sa.Text, nullable=False),
    sa.Column("standing", sa.Boolean, nullable=False),
    sa.Column("for_one_job", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("sealed", BYTEA),
    sa.Column("configured_at", TIMESTAMP(timezone=True), nullable=False),
    comment="credentials are sealed, and gone when the owner removed them",
)
sa.Index("targets_of_owner", targets.c.owner, targets.c.configured_at.desc(), postgresql_where=targets.c.standing)
