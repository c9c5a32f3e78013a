"""Files may be in object storage of their owner's own."""

from __future__ import annotations

from alembic import op

from services.storage import tables

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    tables.metadata.create_all(op.get_bind(), checkfirst=True)
    for column in ("target_id uuid", "provider text not null default 'local'", "bucket text"):
        op.execute(f"alter table storage.files add column if not exists {column}")
    op.execute("alter table storage.files drop constraint if exists files_location_key")
    op.execute("create unique index if not exists files_on_disk on storage.files (location) where target_id is null")
