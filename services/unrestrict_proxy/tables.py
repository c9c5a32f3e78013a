"""Schema `unrestrict_proxy` beside its event store. Credentials and cookies are sealed."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, TIMESTAMP, UUID

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

cookies = sa.Table(
    "cookies",
    metadata,
    sa.Column("owner", UUID(as_uuid=True), primary_key=True),
    sa.Column("domain", sa.Text, primary_key=True),
    sa.Column("sealed", BYTEA, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("scopes", ARRAY(sa.Text), nullable=False),
    sa.Column("expiries", ARRAY(sa.Double), nullable=False),
    sa.Column("synced_by", sa.Text),
    sa.Column("updated_at", TIMESTAMP(timezone=True), nullable=False),
    comment="a user's of one domain, sealed together; scopes are the domains they say, expiries has null for none",
)
