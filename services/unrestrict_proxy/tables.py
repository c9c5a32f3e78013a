"""Schema `unrestrict_proxy` beside its event store. Credentials are sealed."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, TIMESTAMP, UUID

metadata = sa.MetaData(schema="unrestrict_proxy")

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("platform", sa.Text, nullable=False, index=True),
    sa.Column("username", sa.Text, nullable=False),
    sa.Column("sealed_secret", BYTEA, nullable=False),
    sa.Column("added_at", TIMESTAMP(timezone=True), nullable=False),
)
