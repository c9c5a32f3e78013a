"""The process that speaks to object storage: the only one with OpenDAL in it, and with no way out but the egress proxy.

It is a process of its own because OpenDAL looks names up and follows redirects by itself, and only an environment that
is there before it is loaded makes it go through a proxy.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import opendal
from opendal.exceptions import ConfigInvalid, NotFound, PermissionDenied, RateLimited
from opendal.layers import RetryLayer, TimeoutLayer
from opendal.types import Metadata

from libs.egress.rate import LOOK_SECONDS, Rate
from services.storage.targets.asks import Answer, Asks, Delete, Discard, Found, Left, Pace, Put, Stat, Stop, Verify
from services.storage.targets.checksums import Checksums

SEE_SECONDS = 2.0
SETTLE_SECONDS = 0.5
TRIES = 2
"""Times that a request is made again after a failure that may pass."""
CHUNK = 1 << 20
LONGEST_ASK = 1 << 20

_STATUS = re.compile(r"status: ([1-5][0-9]{2})")
_EGRESS = re.compile(r'"x-longshore-egress": "([a-z_]+)"')


class Failed(Exception):
    """The work ends with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Work:
    """One ask that is being done."""

    def __init__(self, task: asyncio.Task[None], patience: float) -> None:
        self.task = task
        self._patience = patience
        self.stopped = False
        self.left: Left = "nothing"
        self.rate = Rate(None)

    def stop(self) -> None:
        self.stopped = True
        asyncio.get_running_loop().call_later(self._patience, self.task.cancel)

    async def pay(self, count: int) -> None:
        """Until so many bytes may go. Raises Failed."""
        wait = self.rate.passed(count)
        while wait:
            self.check()
            await asyncio.sleep(min(wait, LOOK_SECONDS))  # the rate that was asked for
            wait = self.rate.owed()

    def check(self) -> None:
        if self.stopped:
            raise Failed("stopped")


async def put(ask: Put, operator: opendal.AsyncOperator, work: Work) -> Found:
    before = await _metadata(operator, ask.key)
    known = None if before is None else _found(before)
    if known is not None and (known.size, known.sha256) == (ask.size, ask.sha256):
        return known
    with await asyncio.to_thread(open, ask.source, "rb") as source:
        sums = Checksums(source, ask.part)
        target = await operator.open(
            ask.key, "wb", chunk=ask.part, concurrent=ask.at_once, user_metadata={"sha256": ask.sha256}
        )
        work.left = "parts"
        while part := await asyncio.to_thread(sums.read):
            await work.pay(len(part))
            work.check()
            await target.write(part)
        if (sums.size, sums.sha256.hexdigest()) != (ask.size, ask.sha256):
            raise Failed("source_changed")
        work.check()
        work.left = "object"
        try:
            await target.close()
            work.check()
            return await _checked(ask, operator, sums)
        except BaseException:
            if before is not None and await _unchanged(operator, ask.key, before):
                work.left = "parts"
            raise


async def _checked(ask: Put, operator: opendal.AsyncOperator, sums: Checksums) -> Found:
    metadata = await operator.stat(ask.key)
    found = _found(metadata)
    if found.size != ask.size or found.sha256 not in {None, ask.sha256}:
        raise Failed("damaged")
    shown = await sums.match(metadata.content_md5, metadata.etag)
    if not shown and await _read_back(operator, ask.key, ask.part) != ask.sha256:
        raise Failed("damaged")
    return found


async def _unchanged(operator: opendal.AsyncOperator, key: str, before: Metadata) -> bool:
    """Whether the object is still the one from before. True if that can not be learnt: it may be, and it is whole."""
    try:
        async with asyncio.timeout(SEE_SECONDS):
            now = await _metadata(operator, key)
    except Exception:  # noqa: BLE001 - of the many kinds that OpenDAL raises each means the same here
        return True
    return now is not None and (now.etag, now.last_modified) == (before.etag, before.last_modified)


async def _metadata(operator: opendal.AsyncOperator, key: str) -> Metadata | None:
    try:
        return await operator.stat(key)
    except NotFound:
        return None


async def stat(ask: Stat, operator: opendal.AsyncOperator, _: Work) -> Found | None:
    metadata = await _metadata(operator, ask.key)
    return None if metadata is None else _found(metadata)


async def delete(ask: Delete, operator: opendal.AsyncOperator, _: Work) -> None:
    await operator.delete(ask.key)


async def discard(ask: Discard, operator: opendal.AsyncOperator, _: Work) -> None:
    """Twice: a part that was in the air the first time would begin it all again."""
    for again in (True, False):
        if await _metadata(operator, ask.key) is not None:
            return
        await operator.write(ask.key, b"")
        await operator.delete(ask.key)
        if again:
            await asyncio.sleep(SETTLE_SECONDS)


async def verify(ask: Verify, operator: opendal.AsyncOperator, work: Work) -> None:
    work.left = "object"
    try:
        await operator.write(ask.key, ask.text.encode())
    except (PermissionDenied, NotFound, ConfigInvalid):
        work.left = "nothing"
        raise
    text = await operator.read(ask.key)
    await operator.delete(ask.key)
    if text != ask.text.encode():
        raise Failed("damaged")


async def _read_back(operator: opendal.AsyncOperator, key: str, chunk: int) -> str:
    """Some services encrypt, and their checksum is of that; what counts is what they give back."""
    digest = hashlib.sha256()
    source = await operator.open(key, "rb", chunk=chunk)
    while data := await source.read(CHUNK):
        await asyncio.to_thread(digest.update, data)
    return digest.hexdigest()


def _found(metadata: Metadata) -> Found:
    user = {name.lower(): value for name, value in (metadata.user_metadata or {}).items()}
    return Found(size=metadata.content_length, etag=metadata.etag, sha256=user.get("sha256"))


def code(error: Exception) -> str:
    """A failed write is an OSError with the text of the real one, so the text is read for all."""
    text = str(error)
    status = int(found[1]) if (found := _STATUS.search(text)) else 0
    if isinstance(error, Failed):
        return error.code
    if stopped := _EGRESS.search(text):
        return "unreachable" if stopped[1] in {"unreachable", "no_address", "bad_answer"} else "egress_refused"
    if isinstance(error, FileNotFoundError):
        return "source_changed"
    if isinstance(error, PermissionDenied) or text.startswith("PermissionDenied") or status in (401, 403):
        return "access_denied"
    if "NoSuchUpload" in text:
        return "unavailable"
    if isinstance(error, NotFound) or text.startswith("NotFound") or status == 404:
        return "no_bucket"
    if isinstance(error, RateLimited) or status in (408, 429) or status >= 500:
        return "unavailable"
    if isinstance(error, ConfigInvalid) or status >= 400 or "(permanent)" in text:
        return "bad_settings"
    return "timed_out" if "timeout" in text.lower() else "unreachable"


DOING: dict[type[Asks], Callable[..., Awaitable[Found | None]]] = {
    Put: put,
    Stat: stat,
    Delete: delete,
    Discard: discard,
    Verify: verify,
}


class Mover:
    """The process's own end: does what `mover.py` asks, many asks at a time."""

    def __init__(self, say: Callable[[bytes], None]) -> None:
        self._say = say
        self._works: dict[int, Work] = {}
        self._encoder = msgspec.json.Encoder()

    def hear(self, line: bytes) -> None:
        ask = msgspec.json.decode(line, type=Asks)
        if isinstance(ask, Pace | Stop):
            if (work := self._works.get(ask.number)) is None:
                return
            if isinstance(ask, Pace):
                work.rate.set(ask.rate)
            else:
                work.stop()
            return
        task = asyncio.get_running_loop().create_task(self._do(ask))
        work = self._works[ask.number] = Work(task, ask.stop_seconds if isinstance(ask, Put) else 0)
        if isinstance(ask, Put):
            work.rate.set(ask.rate)

    async def _do(self, ask: Put | Stat | Delete | Discard | Verify) -> None:
        work = self._works[ask.number]
        found, failed = None, None
        try:
            found = await DOING[type(ask)](ask, _operator(ask), work)
        except asyncio.CancelledError:
            failed = "stopped"
        except Exception as error:  # noqa: BLE001 - OpenDAL raises many kinds; each ends this ask alone, as a code
            failed = code(error)
        del self._works[ask.number]
        answer = Answer(number=ask.number, found=found, failed=failed, left=work.left if failed else "nothing")
        self._say(self._encoder.encode(answer) + b"\n")

    async def end(self) -> None:
        for work in self._works.values():
            work.stop()
        if self._works:
            await asyncio.wait([work.task for work in self._works.values()])


def _operator(ask: Put | Stat | Delete | Discard | Verify) -> opendal.AsyncOperator:
    options = dict(ask.options)
    return (
        opendal.AsyncOperator(options.pop("scheme"), **options)
        .layer(TimeoutLayer(timeout=ask.call_seconds, io_timeout=ask.part_seconds))
        .layer(RetryLayer(max_times=TRIES, min_delay=0.2, max_delay=2.0, jitter=True))
    )


async def main() -> None:
    """Until the other end closes."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LONGEST_ASK)
    await loop.connect_read_pipe(partial(asyncio.StreamReaderProtocol, reader), sys.stdin)
    mover = Mover(_say)
    while line := await reader.readline():
        mover.hear(line)
    await mover.end()


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(main())
