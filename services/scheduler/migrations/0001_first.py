"""The event store, and the service's own tables."""

from __future__ import annotations

from alembic import op

from libs.eventstore.schema import create_event_store
from services.scheduler import tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    for statement in create_event_store("scheduler"):
        op.execute(statement)
    tables.metadata.create_all(op.get_bind(), checkfirst=False)
