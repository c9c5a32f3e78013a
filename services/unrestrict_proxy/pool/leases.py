"""Slots of accounts: who has which, until when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import asyncpg

from libs.message import new_id
from proto.unrestrict_proxy import LinkClass
from services.unrestrict_proxy.pool import slots
from services.unrestrict_proxy.pool.slots import Slot

KEEP_SECONDS = 3.0
"""So often a lease is to be kept; it is also how often users see their file grow."""
LEASE_SECONDS = 30.0


class NoSlot(Exception):
    """Accounts are fine, and every slot of theirs is taken. `retry_after` in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("every slot of the accounts for this file is taken")
        self.retry_after = retry_after


class Leases:
    def __init__(self, pool: asyncpg.Pool, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._now = now

    async def take(self, holder: UUID, ref: LinkClass, wanted: Sequence[tuple[UUID, int]]) -> Slot:
        """Of (account, number of slots), the first that is free in this order; the holder's own where it has one of
        theirs for this file, under a new lease: a holder that was killed comes again as another process, whose bytes
        are counted anew, and if the first should still run it must stop. Raises NoSlot."""
        usable = {account_id for account_id, _ in wanted}
        now = self._now()
        until = now + timedelta(seconds=LEASE_SECONDS)
        async with self._pool.acquire() as conn:
            own = await slots.slot_of(conn, holder)
            if own is not None:
                same = (own.platform, own.file_ref) == (ref.platform, ref.file_ref) and own.account_id in usable
                renewed = await slots.renew_slot(conn, own.lease_id, new_id(), now, until) if same else None
                if renewed is not None:
                    return renewed
                await slots.free_slot(conn, own.lease_id)
            take = partial(slots.take_slot, conn, wanted, new_id(), holder, ref, now, until)
            try:
                slot = await take()
                if slot is None:
                    # Another may be making them, which this waits for.
                    await slots.make_slots(conn, wanted)
                    slot = await take()
            except asyncpg.UniqueViolationError:
                # The same holder asked twice at once, and the other of both has it.
                slot = await slots.slot_of(conn, holder)
            if slot is not None and slot.account_id in usable:
                return slot
            free = await slots.first_free(conn, usable)
        raise NoSlot(KEEP_SECONDS if free is None else max((free - now).total_seconds(), 1.0))

    async def keep(self, lease_id: UUID, seconds: float = LEASE_SECONDS) -> bool:
        """False when the slot is another's by now. One that ran out and that nobody took goes on."""
        async with self._pool.acquire() as conn:
            return await slots.keep_slot(conn, lease_id, self._now() + timedelta(seconds=seconds))

    async def free(self, lease_id: UUID) -> Slot | None:
        """What was freed; None when it is another's by now."""
        async with self._pool.acquire() as conn:
            return await slots.free_slot(conn, lease_id)
