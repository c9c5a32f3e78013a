"""Events that a follower put aside: to be read, applied after all, or given up."""

from __future__ import annotations

from datetime import datetime

import asyncpg
from msgspec import Struct


class Letter(Struct, frozen=True):
    consumer: str
    sequence: int
    type: str
    error: str
    at: datetime
    body: bytes


_COLUMNS = "consumer, sequence, type, error, at, body"


async def letters(pool: asyncpg.Pool, schema: str, limit: int) -> list[Letter]:
    """Oldest first."""
    rows = await pool.fetch(
        f"select {_COLUMNS} from {schema}.dead_letters order by at, consumer, sequence limit $1", limit
    )
    return [Letter(*row) for row in rows]


async def letter(pool: asyncpg.Pool, schema: str, consumer: str, sequence: int) -> Letter | None:
    row = await pool.fetchrow(
        f"select {_COLUMNS} from {schema}.dead_letters where consumer = $1 and sequence = $2", consumer, sequence
    )
    return Letter(*row) if row else None


async def drop(pool: asyncpg.Pool, schema: str, consumer: str, sequence: int) -> bool:
    """Whether it was there."""
    done = await pool.execute(
        f"delete from {schema}.dead_letters where consumer = $1 and sequence = $2", consumer, sequence
    )
    return bool(done == "DELETE 1")


async def count(pool: asyncpg.Pool, schema: str) -> int:
    found: int = await pool.fetchval(f"select count(*) from {schema}.dead_letters")
    return found
