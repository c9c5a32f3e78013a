"""Files on their way to object storage, and the targets that users have told us of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from libs.database import AWAY
from libs.eventstore import EventStore
from libs.message import Meta, Refused, new_id
from libs.sealing import CannotOpen, Sealer
from proto.storage import (
    StillStoring,
    StoredFile,
    StoreFile,
    TargetNotFound,
    TargetRejected,
    TargetUnavailable,
)
from services.storage import domain, views
from services.storage.keeping import stored
from services.storage.targets.credentials import Credentials
from services.storage.targets.failures import TargetAway, TargetRefused
from services.storage.targets.local import LocalTarget
from services.storage.targets.mover import Mover
from services.storage.targets.objects import ObjectTarget, Pace
from services.storage.views import Target

ANSWER_SECONDS = 3.0
"""How long an asker waits for an upload; then it is told to ask again."""
UNWANTED_SECONDS = 60.0
"""An upload that nobody asks for any more is given up: its job was cancelled, or its worker died."""
LEASE = timedelta(seconds=60)
"""How long a process that says nothing more is believed to carry a file; then another one does."""
RENEW_SECONDS = 15.0
ELSEWHERE_SECONDS = 1.0
"""Between two looks at what another process carries."""
NAMES_TRIED = 50


def read(credentials: dict[str, Any]) -> Credentials:
    """Raises Refused for what no service would take; the text repeats no secret."""
    try:
        return msgspec.convert(credentials, Credentials)  # type: ignore[no-any-return]  # a union of structs
    except msgspec.ValidationError as error:
        raise Refused(TargetRejected(message=str(error), code="bad_settings")) from error


def refusal(error: TargetRefused | TargetAway) -> Refused:
    kind = TargetRejected if isinstance(error, TargetRefused) else TargetUnavailable
    return Refused(kind(message=str(error), code=error.code))


Key = tuple[UUID, str]
"""Job and item."""


class Remote:
    """Everything that is done with object storage."""

    def __init__(self, pool: asyncpg.Pool, store: EventStore, local: LocalTarget, mover: Mover, sealer: Sealer) -> None:
        self._pool = pool
        self._store = store
        self._local = local
        self._mover = mover
        self._sealer = sealer
        self._uploads: dict[Key, _Upload] = {}
        self._me = new_id()

    def at(self, credentials: Credentials) -> ObjectTarget:
        return ObjectTarget(credentials, self._mover)

    def seal(self, credentials: Credentials, target_id: UUID) -> bytes:
        return self._sealer.seal(msgspec.json.encode(credentials), str(target_id))

    def open(self, target: Target) -> ObjectTarget:
        """Raises Refused when the installation's key is no longer the one that sealed them."""
        try:
            raw = self._sealer.open(target.sealed, str(target.info.target_id))
        except CannotOpen as error:
            raise Refused(TargetRejected(message="these credentials can not be opened", code="sealed")) from error
        return self.at(msgspec.json.decode(raw, type=Credentials))

    async def wanted(self, owner: UUID, target_id: UUID | None) -> Target | None:
        """Where a file of this owner goes; None is the local disk. Raises Refused for a target that was removed."""
        async with self._pool.acquire() as conn:
            if target_id is None:
                return await views.standing_target(conn, owner)
            found = await views.target(conn, target_id)
        if found is None or found.owner != owner:
            raise Refused(TargetNotFound(message="the storage of this job is not there any more"))
        return found

    async def target_of(self, target_id: UUID) -> ObjectTarget | None:
        """For what is kept there. None when its credentials are gone."""
        async with self._pool.acquire() as conn:
            target = await views.target_there(conn, target_id)
        return self.open(target) if target is not None else None

    async def put(self, command: StoreFile, source: Path, target: Target, meta: Meta) -> StoredFile:
        """Raises Refused: with StillStoring while it is on its way, and then the same command is to come again."""
        key = (command.job_id, command.key)
        upload = self._uploads.get(key)
        if upload is None:
            if (known := await self._mine_to_carry(key)) is not None:
                return known
            upload = self._uploads.get(key)  # another asker may have begun meanwhile
        if upload is None:
            pace = Pace(command.rate)
            upload = self._uploads[key] = _Upload(
                pace,
                lambda: self._put(command, source, target, meta, pace),
                lambda: self._claim(key),
                lambda: self._let_go(key),
                lambda over: self._forget(key, over),
            )
        await upload.pace.set(command.rate)
        if not await upload.asked():
            raise Refused(StillStoring(message="the file is on its way"))
        self._uploads.pop(key, None)  # two askers may have waited for it
        return upload.outcome()

    async def _mine_to_carry(self, key: Key) -> StoredFile | None:
        """None when it is; else what another process has stored meanwhile. Raises Refused while it has not."""
        async with self._pool.acquire() as conn:
            mine = await views.claim_upload(conn, *key, self._me, LEASE)
        if not mine:
            await asyncio.sleep(ELSEWHERE_SECONDS)  # the pace of the asker
        async with self._pool.acquire() as conn:
            known = await views.by_item(conn, *key)
            if known is not None and mine:
                await views.uploaded(conn, *key, self._me)
        if known is None and not mine:
            raise Refused(StillStoring(message="the file is on its way"))
        return known

    async def _claim(self, key: Key) -> timedelta | None:
        async with self._pool.acquire() as conn:
            return await views.go_on_uploading(conn, *key, self._me, LEASE)

    def _forget(self, key: Key, over: _Upload) -> None:
        if self._uploads.get(key) is over:
            del self._uploads[key]

    async def _let_go(self, key: Key) -> None:
        async with self._pool.acquire() as conn:
            await views.uploaded(conn, *key, self._me)

    async def _put(self, command: StoreFile, source: Path, target: Target, meta: Meta, pace: Pace) -> StoredFile:
        remote = self.open(target)
        try:
            key = await self._free_key(remote, command)
            await remote.put(source, key, command.size, command.sha256, pace)
        except (TargetRefused, TargetAway) as error:
            raise refusal(error) from error
        file = StoredFile(
            file_id=new_id(),
            owner=command.owner,
            job_id=command.job_id,
            key=command.key,
            name=PurePosixPath(key).name,
            location=key,
            size=command.size,
            sha256=command.sha256,
            media_type=command.media_type,
            stored_at=datetime.now(UTC),
            target_id=target.info.target_id,
            provider=target.info.provider,
            bucket=target.info.bucket,
        )
        try:
            async with self._pool.acquire() as conn:
                await self._store.append_and(conn, [stored(file, meta)], views.ADD_BESIDE, *views.row_values(file))
        except asyncpg.UniqueViolationError:
            # Another process took this one for dead and was quicker: theirs stands, ours goes from there again.
            async with self._pool.acquire() as conn:
                known = await views.by_item(conn, command.job_id, command.key)
                if known is None:
                    raise
                if known.location != file.location:
                    await views.to_erase(conn, [file], file.stored_at)
            return known
        await asyncio.to_thread(self._local.release, source)
        return file

    async def _free_key(self, remote: ObjectTarget, command: StoreFile) -> str:
        """A name that nothing has there, and nothing that is on its way: what others keep in the same bucket is not
        ours to replace. Taken before it is looked at, so that who was before us is either on its way or there."""
        words = domain.words(command.about, command.owner, datetime.now(UTC).date())
        for twin in range(NAMES_TRIED):
            key = remote.key(command.directory, domain.twin_name(command.name, twin), words)
            async with self._pool.acquire() as conn:
                ours = await views.take_place(conn, command.job_id, command.key, remote.place(key))
            if ours and await remote.stat(key) is None:
                return key
        return remote.key((*command.directory, str(command.job_id)), command.name, words)

    async def close(self) -> None:
        for upload in list(self._uploads.values()):
            await upload.stop()


class _Upload:
    """One file on its way, as a task that outlives each of those who ask for it.

    `work` stores the file. `claim` renews this process's right to it every RENEW_SECONDS and answers how long ago
    anybody asked for the file, in whichever process; None when another process has taken it over. `let_go` gives that
    right up, and is called at the end, however it ends. `forget` is called when the upload was given up, or when nobody
    came for its outcome: who asks after that begins anew.
    """

    def __init__(
        self,
        pace: Pace,
        work: Callable[[], Awaitable[StoredFile]],
        claim: Callable[[], Awaitable[timedelta | None]],
        let_go: Callable[[], Awaitable[None]],
        forget: Callable[[_Upload], object],
    ) -> None:
        self.pace = pace
        self._patience: asyncio.Timeout | None = None
        self._claim = claim
        self._let_go = let_go
        self._forget = forget
        self._task: asyncio.Task[StoredFile] = asyncio.create_task(self._run(work))
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[StoredFile]) -> None:
        if task.cancelled() or isinstance(task.exception(), TimeoutError):
            self._forget(self)
        else:
            asyncio.get_running_loop().call_later(UNWANTED_SECONDS, self._forget, self)

    async def _run(self, work: Callable[[], Awaitable[StoredFile]]) -> StoredFile:
        working = asyncio.ensure_future(work())
        keeping = asyncio.create_task(self._keep(working))
        try:
            async with asyncio.timeout(UNWANTED_SECONDS) as self._patience:
                return await working
        finally:
            working.cancel()
            keeping.cancel()
            await asyncio.wait({working, keeping})
            with suppress(*AWAY):
                await self._let_go()  # else the claim runs out

    async def _keep(self, working: asyncio.Future[StoredFile]) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)  # the pace of the claim
            try:
                ago = await self._claim()
            except AWAY:
                continue
            if ago is None:
                working.cancel()
                return
            if self._patience is not None:
                left = UNWANTED_SECONDS - ago.total_seconds()
                self._patience.reschedule(asyncio.get_running_loop().time() + max(left, 0.0))

    async def asked(self) -> bool:
        """Whether it is over, after waiting for a while."""
        if self._patience is not None and not self._task.done():
            self._patience.reschedule(asyncio.get_running_loop().time() + UNWANTED_SECONDS)
        await asyncio.wait({self._task}, timeout=ANSWER_SECONDS)
        return self._task.done()

    def outcome(self) -> StoredFile:
        """Raises what went wrong."""
        try:
            return self._task.result()
        except asyncio.CancelledError as error:
            raise Refused(StillStoring(message="another process carries the file now")) from error
        except TimeoutError as error:
            unavailable = TargetUnavailable(message="the storage service took too long", code="timed_out")
            raise Refused(unavailable) from error

    async def stop(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError, Refused, TimeoutError):
            await self._task
