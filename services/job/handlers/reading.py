"""What can be asked about jobs here; their watchers ask the gateway."""

from __future__ import annotations

import asyncpg
import msgspec

from libs.calls import Answer
from libs.eventstore import EventStore
from libs.message import Refused
from proto.job import (
    ArchivePage,
    HistoryEntry,
    ListArchived,
    ReadHistory,
)
from services.job import domain, views
from services.job.commit import Ledger

ARCHIVE_PAGE = 2000
"""Keys; at their longest they are still below what one message may carry."""


async def read_history(query: ReadHistory, store: EventStore, ledger: Ledger) -> Answer:
    job = await ledger.read(query.job_id)
    if query.owner is not None and query.owner != job.owner:
        raise Refused(domain.not_found(query.job_id))
    return Answer(
        [
            HistoryEntry(
                version=one.version,
                type=one.type,
                recorded_at=one.recorded_at,
                actor=one.meta.actor,
                data=msgspec.to_builtins(one.event),
            )
            for one in await store.load(query.job_id)
        ]
    )


async def list_archived(query: ListArchived, pool: asyncpg.Pool) -> Answer:
    async with pool.acquire() as conn:
        found = await views.archived(
            conn,
            query.owner,
            domain.plain_host(f"//{query.host}"),
            query.after or ("", ""),
            ARCHIVE_PAGE,
            deleted=query.archive == "fetched",
        )
    more = len(found) == ARCHIVE_PAGE
    return Answer(ArchivePage(keys=tuple(key for _, key in found), after=found[-1] if more else None))
