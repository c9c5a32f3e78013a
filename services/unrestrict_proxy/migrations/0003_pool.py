"""The pool: what is known of accounts, their slots, links, breakers."""

from __future__ import annotations

from alembic import op

from services.unrestrict_proxy import tables

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # On an empty schema the first migration has made all tables as they are today.
    op.execute("alter table unrestrict_proxy.accounts add column if not exists domains text[] not null default '{}'")
    op.execute("alter table unrestrict_proxy.accounts add column if not exists base_url text")
    op.execute("alter table unrestrict_proxy.accounts add column if not exists slots integer")
    op.execute("alter table unrestrict_proxy.accounts add column if not exists max_chunks integer")
    tables.metadata.create_all(op.get_bind(), checkfirst=True)
    op.execute(
        "insert into unrestrict_proxy.standings (account_id) select account_id from unrestrict_proxy.accounts"
        " on conflict do nothing"
    )
