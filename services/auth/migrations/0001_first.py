"""The event store, and the service's own tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from libs.eventstore.schema import create_event_store
from services.auth import tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    for statement in create_event_store("auth"):
        op.execute(statement)
    op.execute(sa.schema.CreateSequence(sa.Sequence("user_numbers", schema="auth")))
    tables.metadata.create_all(op.get_bind(), checkfirst=False)
