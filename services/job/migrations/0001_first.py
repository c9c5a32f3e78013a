"""The event store, and what admission reads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from libs.eventstore.schema import create_event_store
from services.job import tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    for statement in create_event_store("job"):
        op.execute(statement)
    op.execute(sa.schema.CreateSequence(sa.Sequence("job_numbers", schema="job")))
    tables.metadata.create_all(op.get_bind(), checkfirst=False)
