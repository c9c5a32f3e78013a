"""What whoever asks is told when the database has no room."""

from __future__ import annotations

import asyncpg
import pytest

from libs.calls import Answer, Caller, ServiceFailed, serve
from proto import REGISTRY
from proto.auth import ReadUser, User


async def read_user(query: ReadUser, pool: asyncpg.Pool) -> Answer:
    """As Postgres says it."""
    await pool.execute(f"do $$ begin raise '{query.username}' using errcode = 'disk_full'; end $$")
    return Answer()


async def test_a_full_disk_of_the_database_is_told_in_words_to_whoever_asks(installation):
    pool = await installation.pool("auth")
    await serve(await installation.bus("auth"), "auth", (read_user,), {"pool": pool})
    caller = Caller(await installation.bus("cli"), REGISTRY, "cli")

    with pytest.raises(ServiceFailed, match=r"auth\.user: the disk of the database is full$"):
        await caller.query(ReadUser(username="ada"), result=User)
