"""Files with the same bytes are found; what object storage is still to lose, and who uploads what, is written down."""

from __future__ import annotations

from alembic import op

from services.storage import tables

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    tables.metadata.create_all(op.get_bind(), checkfirst=True)
    op.execute("create index if not exists files_with_bytes on storage.files (owner, sha256) where target_id is null")
