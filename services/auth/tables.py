"""Schema `auth` beside its event store. Secrets are here as hashes or sealed, and nowhere else."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, TIMESTAMP, UUID

metadata = sa.MetaData(schema="auth")
_Instant = TIMESTAMP(timezone=True)

users = sa.Table(
    "users",
    metadata,
    sa.Column("user_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, unique=True),
    sa.Column("username", sa.Text, nullable=False, unique=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("created_at", _Instant, nullable=False),
    sa.Column("last_login", _Instant),
    sa.Column("limits", BYTEA),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("key_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("digest", BYTEA, nullable=False, unique=True),
    sa.Column("owner", UUID(as_uuid=True), nullable=False),
    sa.Column("dialect", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("expires_at", _Instant),
    sa.Column("revoked_at", _Instant),
    sa.Column("webhook_style", sa.Text, nullable=False, server_default="current"),
    sa.Column("status_style", sa.Text, nullable=False, server_default="current"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("session_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("user_id", UUID(as_uuid=True), nullable=False, index=True),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("expires_at", _Instant, nullable=False),
    sa.Column("ended_at", _Instant),
)
sa.Index("sessions_over", sa.func.least(sessions.c.expires_at, sessions.c.ended_at))

lockouts = sa.Table(
    "lockouts",
    metadata,
    sa.Column("username", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("locked_until", _Instant, nullable=False),
)
sa.Index("lockouts_over", lockouts.c.locked_until)

signing_keys = sa.Table(
    "signing_keys",
    metadata,
    sa.Column("kid", sa.Text, primary_key=True),
    sa.Column("sealed", BYTEA, nullable=False),
    sa.Column("public_pem", sa.Text, nullable=False),
    sa.Column("created_at", _Instant, nullable=False),
)
