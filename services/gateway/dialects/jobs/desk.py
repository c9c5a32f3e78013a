"""Who asks, for which job, and their shape for what is wrong."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Literal
from urllib.parse import quote
from uuid import UUID, uuid5

from litestar import Response
from msgspec.structs import replace

from libs.bus import TimedOut
from libs.egress.links import BadLink, check_link
from libs.message import Refused, new_id
from proto.auth import KeyHolder
from proto.job import QuotaExceeded, ReadSubmission, StoredItem, SubmitJobs, Submitted
from proto.storage import ConfigureTarget, LinkFile, TargetInfo
from proto.worker import Entry, LinkInfo, Uninspected
from services.gateway.dialects import AnyRequest, Edge, Repeat, address, bearer, repeat, reply
from services.gateway.dialects.jobs import answers, credentials, shown, translate
from services.gateway.dialects.jobs.answers import Links
from services.gateway.dialects.jobs.page import asked_for, page
from services.gateway.dialects.jobs.translate import Invalid
from services.gateway.domain import JobView

VERIFY_SECONDS = 90.0
"""For a storage service to take, give back and delete a small file."""

Handler = Callable[["Desk", AnyRequest, KeyHolder], Awaitable[Response[bytes]]]
Table = tuple[tuple[Literal["GET", "POST", "PATCH", "DELETE"], str, Handler], ...]
"""Method, path, and what answers."""


def problem(_: AnyRequest, status: int, text: str) -> Response[bytes]:
    return reply(shown.Problem(error=text), status)


class Desk:
    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.ask = edge.ask

    def answering(self, handler: Handler) -> Callable[[AnyRequest], Awaitable[Response[bytes]]]:
        """A route: the key first, and every refusal in their words."""

        async def answered(request: AnyRequest) -> Response[bytes]:
            key = request.headers.get("x-api-key") or bearer(request)
            if not key and asked_for(request.method, request.url.path, request.headers.get("accept", "")):
                return page()
            holder = await self.edge.guard.holder(key, "jobs", address(request))
            if holder is None:
                return problem(request, 401, translate.BAD_KEY if key else translate.MISSING_KEY)
            try:
                return await handler(self, request, holder)
            except Invalid as error:
                return problem(request, error.status, str(error))
            except Refused as refused:
                if isinstance(refused.refusal, QuotaExceeded):
                    return reply(answers.quota(refused.refusal), 403)
                return problem(request, *translate.refusal(refused.refusal))

        return answered

    def check(self, *links: str | None) -> None:
        """Raises Invalid for the first that must not be asked for anything."""
        for link in links:
            if link is None:
                continue
            try:
                check_link(link, self.edge.policy)
            except BadLink as bad:
                raise Invalid(str(bad)) from bad

    async def look(self, url: str, key: KeyHolder) -> LinkInfo:
        """Raises Invalid with 504 when the site takes too long, Refused for every other reason."""
        try:
            return await self.ask.inspect(url, key.owner)
        except TimedOut as error:
            raise Invalid(translate.TOO_SLOW, 504) from error
        except Refused as refused:
            if isinstance(refused.refusal, Uninspected) and refused.refusal.code == "timed_out":
                raise Invalid(translate.TOO_SLOW, 504) from refused
            raise

    def allowed(self, entries: Sequence[Entry]) -> list[Entry]:
        """Of what a site names, what may be asked for."""
        good = []
        for one in entries:
            with suppress(BadLink):
                check_link(one.url, self.edge.policy)
                good.append(one)
        return good

    def repeat(self, request: AnyRequest, key: KeyHolder, asked: object) -> Repeat | None:
        """None for who does not say that a request may come again."""
        name = request.headers.get("x-idempotency-key")
        if name is None:
            return None
        if not 1 <= len(name) <= 255:
            raise Invalid("Invalid x-idempotency-key")
        return repeat(key.key_id, name, asked)

    async def earlier(self, again: Repeat | None) -> Submitted | None:
        """For what costs more than to submit it once more. Raises Refused when the key was for something else."""
        if again is None:
            return None
        query = ReadSubmission(command_id=again.command_id, asked=again.asked)
        return await self.ask.other(query, Submitted | None)  # type: ignore[arg-type]  # a union is what is decoded

    async def submit(self, command: SubmitJobs, key: KeyHolder, again: Repeat | None) -> Submitted:
        """What is told of it is told in the words of the key. Raises Refused."""
        command = replace(command, webhook_style=key.webhook_style, asked=again.asked if again else "")
        return await self.ask.submit(command, actor=actor(key), command_id=again.command_id if again else None)

    async def job(self, request: AnyRequest, key: KeyHolder) -> JobView:
        view = await self.ask.one(path_id(request, "job_id", "Invalid job ID"), key.owner)
        if view is None:
            raise Invalid(translate.NOT_FOUND, 404)
        return view

    async def links(self, view: JobView) -> Links:
        """To the files of a job: signed anew each time they are asked for, by us or by the storage they are in."""
        items = (view.main, view.going_with("subtitle"), view.going_with("thumbnail"))
        return Links(*[None if one is None else await self._link(view, one) for one in items])

    async def _link(self, view: JobView, item: StoredItem) -> str | None:
        if item.object_key is None:
            expires = int(time.time()) + translate.LINK_SECONDS
            token = self.edge.signer.token(str(item.file_id), expires)
            return f"{self.edge.base_url}/files/{item.file_id}/{token}/{quote(item.name, safe='')}"
        try:
            query = LinkFile(owner=view.owner, file_id=item.file_id, seconds=translate.LINK_SECONDS)
            return await self.ask.other(query, str)
        except Refused:
            return None  # its credentials were removed, or make no links

    async def target(self, storage: credentials.Inline | None, key: KeyHolder, again: Repeat | None) -> UUID | None:
        """For a storage that was told with a job and is used for that alone. Raises Refused when it does not work."""
        if storage is None:
            return None
        target_id = uuid5(again.command_id, again.asked) if again is not None else new_id()
        command = ConfigureTarget(
            owner=key.owner, target_id=target_id, credentials=credentials.told(storage), standing=False
        )
        await self.ask.other(command, TargetInfo, actor=actor(key), timeout=VERIFY_SECONDS)
        return target_id


def path_id(request: AnyRequest, name: str, text: str) -> UUID:
    try:
        return UUID(request.path_params[name])
    except ValueError as error:
        raise Invalid(text) from error


def actor(key: KeyHolder) -> str:
    return f"key:{key.key_id}"
