"""Which storages were told with a job and are used for it alone."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("alter table storage.targets add column if not exists for_one_job boolean not null default false")
    op.execute(
        "update storage.targets one set for_one_job = true from storage.events"
        " where stream_id = one.target_id and type = 'storage.target_configured'"
        " and convert_from(data, 'UTF8')::jsonb ->> 'standing' = 'false'"
    )
