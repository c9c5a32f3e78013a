"""Links that a platform gave, kept sealed until they are over, and those that it still makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from libs.sealing import CannotOpen, Sealer
from proto.unrestrict_proxy import LinkClass
from services.unrestrict_proxy.adapters.contract import DirectLink, Pending
from services.unrestrict_proxy.pool import views

MARGIN_SECONDS = 60.0
"""So long before its end a link is not begun with any more."""
PENDING_SECONDS = 3600.0
"""A link that is being made and that nobody asked for since then is forgotten."""


class Kept(Struct, frozen=True, kw_only=True):
    """One of both. `password` is what the file was opened with: the link is not for those who do not know it."""

    link: DirectLink | None = None
    pending: Pending | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Kept(link={self.link!r})"


_decode = msgspec.json.Decoder(Kept).decode


class Links:
    def __init__(self, pool: asyncpg.Pool, sealer: Sealer, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._sealer = sealer
        self._now = now

    async def of(self, ref: LinkClass, password: str | None) -> Mapping[UUID, Kept]:
        """By account."""
        async with self._pool.acquire() as conn:
            sealed = await views.kept_links(conn, ref.platform, ref.file_ref, self._now())
        opened = {account_id: self._open(ref, account_id, raw) for account_id, raw in sealed.items()}
        return {account: kept for account, kept in opened.items() if kept is not None and kept.password == password}

    def _open(self, ref: LinkClass, account_id: UUID, sealed: bytes) -> Kept | None:
        try:
            return _decode(self._sealer.open(sealed, _place(ref, account_id)))
        except (CannotOpen, msgspec.MsgspecError):
            return None

    async def keep(
        self, ref: LinkClass, account_id: UUID, found: DirectLink | Pending, password: str | None, link_seconds: int
    ) -> None:
        now = self._now()
        if isinstance(found, Pending):
            kept, until = Kept(pending=found, password=password), now + timedelta(seconds=PENDING_SECONDS + found.after)
        else:
            end = found.expires_at or now + timedelta(seconds=link_seconds)
            kept, until = Kept(link=found, password=password), end - timedelta(seconds=MARGIN_SECONDS)
        sealed = self._sealer.seal(msgspec.json.encode(kept), _place(ref, account_id))
        async with self._pool.acquire() as conn:
            await views.keep_link(conn, ref.platform, ref.file_ref, account_id, sealed, until)

    async def forget(self, ref: LinkClass, account_id: UUID) -> None:
        async with self._pool.acquire() as conn:
            await views.forget_link(conn, ref.platform, ref.file_ref, account_id)


def _place(ref: LinkClass, account_id: UUID) -> str:
    return f"{account_id}/{ref.platform}/{ref.file_ref}"
