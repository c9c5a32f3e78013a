"""What came under a lease is in the ledger; nothing read it here."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("alter table unrestrict_proxy.slots drop column if exists read")
