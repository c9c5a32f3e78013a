"""Schema `unrestrict_proxy` beside its event store. Secrets, sessions, host links, cookies and passwords are sealed."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB, TIMESTAMP, UUID

metadata = sa.MetaData(schema="unrestrict_proxy")

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("platform", sa.Text, nullable=False, index=True),
    sa.Column("username", sa.Text, nullable=False),
    sa.Column("sealed_secret", BYTEA, nullable=False),
    sa.Column("added_at", TIMESTAMP(timezone=True), nullable=False),
    sa.Column("domains", ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.Column("base_url", sa.Text),
    sa.Column("slots", sa.Integer),
    sa.Column("max_chunks", sa.Integer),
)


def _account() -> sa.Column[object]:
    return sa.Column("account_id", UUID(as_uuid=True), sa.ForeignKey(accounts.c.account_id, ondelete="CASCADE"))


standings = sa.Table(
    "standings",
    metadata,
    _account(),
    sa.Column("state", JSONB),
    sa.Column("hosts", ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.Column("read_at", TIMESTAMP(timezone=True)),
    sa.Column("reading_until", TIMESTAMP(timezone=True)),
    sa.Column("wait_until", TIMESTAMP(timezone=True)),
    sa.Column("cool_until", TIMESTAMP(timezone=True)),
    sa.Column("cool_reason", sa.Text, nullable=False, server_default=""),
    sa.Column("broken", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("strikes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("paused", JSONB, nullable=False, server_default="{}"),
    sa.Column("doubts", JSONB, nullable=False, server_default="{}"),
    sa.Column("session_number", sa.Integer, nullable=False, server_default="0"),
    sa.Column("sealed_session", BYTEA),
    sa.PrimaryKeyConstraint("account_id"),
    comment="what is known of an account, one row each; services/unrestrict_proxy/pool/standing.py says of the fields",
)

slots = sa.Table(
    "slots",
    metadata,
    _account(),
    sa.Column("slot", sa.Integer),
    sa.Column("lease_id", UUID(as_uuid=True), unique=True),
    sa.Column("holder", UUID(as_uuid=True), unique=True),
    sa.Column("platform", sa.Text, nullable=False, server_default=""),
    sa.Column("file_ref", sa.Text, nullable=False, server_default=""),
    sa.Column("taken_at", TIMESTAMP(timezone=True)),
    sa.Column("expires_at", TIMESTAMP(timezone=True)),
    sa.PrimaryKeyConstraint("account_id", "slot"),
    comment="of every account as many rows as it has slots; free without a holder, or when its lease has expired",
)

host_links = sa.Table(
    "host_links",
    metadata,
    sa.Column("platform", sa.Text),
    sa.Column("file_ref", sa.Text),
    _account(),
    sa.Column("sealed", BYTEA, nullable=False),
    sa.Column("expires_at", TIMESTAMP(timezone=True), nullable=False, index=True),
    sa.PrimaryKeyConstraint("platform", "file_ref", "account_id"),
    comment="links that platforms gave or are making, each for the account that asked",
)

breakers = sa.Table(
    "breakers",
    metadata,
    sa.Column("via", sa.Text, primary_key=True),
    sa.Column("platform", sa.Text, primary_key=True),
    sa.Column("what", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("open_until", TIMESTAMP(timezone=True)),
    sa.Column("probe_until", TIMESTAMP(timezone=True)),
    comment="only of platforms that failed since they last worked",
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

links = sa.Table(
    "links",
    metadata,
    sa.Column("link_id", sa.Text, primary_key=True),
    sa.Column("owner", UUID(as_uuid=True), nullable=False),
    sa.Column("job_id", UUID(as_uuid=True), nullable=False, index=True),
    sa.Column("platform", sa.Text, nullable=False),
    sa.Column("file_ref", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("max_chunks", sa.Integer, nullable=False),
    sa.Column("resumable", sa.Boolean, nullable=False),
    sa.Column("sealed_password", BYTEA),
    sa.Column("file_id", UUID(as_uuid=True), index=True),
    sa.Column("sha256", sa.Text),
    sa.Column("status", sa.Integer),
    sa.Column("requested_at", TIMESTAMP(timezone=True), nullable=False),
    sa.Column("dialect", sa.Text, comment="null where a job came upon the link"),
    sa.Column("stored_at", TIMESTAMP(timezone=True)),
    sa.Index("links_of_file", "owner", "platform", "file_ref"),
)

reads = sa.Table(
    "reads",
    metadata,
    sa.Column("lease_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("job_id", UUID(as_uuid=True), nullable=False, index=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("speed", sa.BigInteger, nullable=False),
    sa.Column("at", TIMESTAMP(timezone=True), nullable=False),
    comment="bytes that came from upstream under a lease; they go when the link is settled",
)

ledgers = sa.Table(
    "ledgers",
    metadata,
    sa.Column("owner", UUID(as_uuid=True), primary_key=True),
    sa.Column("body", BYTEA, nullable=False),
    comment="the fold of a user's traffic events as JSON; it can be deleted, and is folded anew then",
)

servers = sa.Table(
    "servers",
    metadata,
    sa.Column("process", UUID(as_uuid=True), primary_key=True),
    sa.Column("seen_at", TIMESTAMP(timezone=True), nullable=False),
    prefixes=["UNLOGGED"],
    comment="processes that serve files; who was not seen for a while is gone",
)

connections = sa.Table(
    "connections",
    metadata,
    sa.Column("connection_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("process", UUID(as_uuid=True), nullable=False),
    sa.Column("link_id", sa.Text, nullable=False, index=True),
    sa.Column("owner", UUID(as_uuid=True), nullable=False, index=True),
    prefixes=["UNLOGGED"],
    comment="each for as long as it lasts; a crash of the database forgets them",
)

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("link_id", sa.Text, primary_key=True),
    sa.Column("free_at", TIMESTAMP(timezone=True), nullable=False),
    prefixes=["UNLOGGED"],
    comment="until when a link's requests are used up, as a bucket that leaks",
)

traffic = sa.Table(
    "traffic",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("owner", UUID(as_uuid=True), nullable=False),
    sa.Column("at", TIMESTAMP(timezone=True), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("link_id", sa.Text),
    sa.Column("platform", sa.Text),
    sa.Column("name", sa.Text),
    sa.Index("traffic_of_owner", "owner", "number"),
    comment="what a user's traffic went to, for people; number is the event's place in the store",
)
