"""Jobs are counted by blocks of their numbers, so that a page far away is found without counting up to it."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

BLOCK = 4096


def upgrade() -> None:
    op.execute("drop table gateway.tallies")
    op.execute(
        "create table gateway.tallies (owner uuid not null, state text not null, block bigint not null,"
        " jobs bigint not null, primary key (owner, state, block))"
    )
    op.execute(
        "insert into gateway.tallies"
        f" select owner, state, number / {BLOCK}, count(*) from gateway.jobs group by owner, state, number / {BLOCK}"
    )
    op.execute(
        "comment on table gateway.tallies is"
        " 'how many jobs of a block of numbers are in which state now, so that pages need no counting'"
    )
