"""Looks at links for others. Nothing of it is kept, and a slow site keeps no more than its own asker waiting."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from libs.calls import Answer
from libs.egress.links import BadLink, check_link
from libs.egress.policy import EgressPolicy
from libs.message import Refused, new_id
from proto.unrestrict_proxy import Cookie
from proto.worker import InspectLink, LinkInfo, Uninspected
from services.job.engines import EngineFailed
from services.job.engines.ytdlp import YtdlpEngine
from services.job.worker import cookies

SECONDS = 28.0
"""Below the half minute after which the jobs API answers that it took too long."""
AT_ONCE = 8


class Inspector:
    """`grant` gives a way out for a name, `revoke` closes it; `jar` has the cookies of a user for a host, or raises
    TimeoutError."""

    def __init__(
        self,
        engine: YtdlpEngine,
        policy: EgressPolicy,
        folder: Path,
        grant: Callable[[str], str],
        revoke: Callable[[str], object],
        jar: Callable[[UUID, str], Awaitable[list[Cookie]]],
    ) -> None:
        self._engine = engine
        self._policy = policy
        self._folder = folder
        self._grant = grant
        self._revoke = revoke
        self._jar = jar

    async def look(self, url: str, owner: UUID | None = None) -> LinkInfo:
        """Raises Refused."""
        try:
            check_link(url, self._policy)
        except BadLink as bad:
            raise Refused(Uninspected(message=str(bad), code=bad.code)) from bad
        name = f"inspect-{new_id()}"
        work = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._folder, prefix="inspect-"))
        try:
            async with asyncio.timeout(SECONDS):
                found = await self._jar(owner, urlsplit(url).hostname or "-") if owner is not None else []
                with cookies.jar(work / cookies.name("inspect"), found) as file:
                    said = await self._engine.inspect(url, self._grant(name), work, file)
            return msgspec.convert(said, LinkInfo)
        except TimeoutError as error:
            raise Refused(Uninspected(message="the site took too long to answer", code="timed_out")) from error
        except EngineFailed as failed:
            raise Refused(Uninspected(message=failed.failure.message, code=failed.failure.code)) from failed
        except msgspec.ValidationError as error:
            raise Refused(Uninspected(message="the site's answer makes no sense", code="nonsense")) from error
        finally:
            self._revoke(name)
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)


async def inspect_link(query: InspectLink, inspector: Inspector) -> Answer:
    return Answer(await inspector.look(query.url, query.owner))


HANDLERS = (inspect_link,)
