"""Recorded conversations: what a client sends and what must come back, word for word.

A `.http` file is a conversation. Each exchange begins with `### title`, then the request (line, headers, empty line,
body), a line `---`, and the answer in the same form: status, the headers that matter, body. Words in angle brackets
stand for what differs from run to run: `<uuid>`, `<ms>`, `<iso>`, `<int>`, `<float>`, `<text>`, `<any>`. With
`<text as name>` what was found is kept, and `{{name}}` says it again. `@until "status": "Completed"` before a request
repeats it until its answer says so.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
from msgspec import Struct

from tests.dialects.contract import Contract

PATIENCE = 60.0
_HOUR = 3600
_WILD = re.compile(r"<(uuid|ms|iso|int|float|text|any)(?: as (\w+))?>")


class Exchange(Struct, frozen=True, kw_only=True):
    title: str
    method: str
    path: str
    headers: dict[str, str]
    body: str
    until: str | None
    status: int
    answer_headers: dict[str, str]
    answer: Any
    """The decoded body; None for an empty one."""


def read(path: Path) -> list[Exchange]:
    sections = re.split(r"^### ", path.read_text(), flags=re.MULTILINE)[1:]
    return [_exchange(section) for section in sections]


def _exchange(section: str) -> Exchange:
    title, _, rest = section.partition("\n")
    request, _, answer = rest.strip().partition("\n---\n")
    until = None
    if request.startswith("@until "):
        first, _, request = request.partition("\n")
        until = first.removeprefix("@until ").strip()
    line, headers, body = _parts(request)
    method, path = line.split(" ", 1)
    status, answer_headers, answer_body = _parts(answer)
    return Exchange(
        title=title.strip(),
        method=method,
        path=path,
        headers=headers,
        body=body,
        until=until,
        status=int(status),
        answer_headers=answer_headers,
        answer=json.loads(answer_body) if answer_body else None,
    )


def _parts(text: str) -> tuple[str, dict[str, str], str]:
    head, _, body = text.strip().partition("\n\n")
    first, *lines = head.splitlines()
    return first.strip(), dict(line.split(": ", 1) for line in lines), body.strip()


class Player:
    """Says a conversation to a running installation. `known` are the words for `{{...}}`; what comes back is held
    against the dialect's `contract` too, if there is one."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, known: dict[str, str], contract: Contract | None = None
    ) -> None:
        self.known = known
        self._contract = contract
        self._session = session
        self._url = url

    async def play(self, exchange: Exchange) -> list[str]:
        """Where the answer differs from the recorded one; nothing when it does not."""
        status, headers, body = await self._ask(exchange)
        wrong = [] if status == exchange.status else [f"status is {status}, not {exchange.status}"]
        for name, wanted in exchange.answer_headers.items():
            wrong += self.differences(headers.get(name), self._filled(wanted), f"header {name}")
        wrong += self.differences(body, exchange.answer, "body")
        if self._contract is not None and exchange.method != "OPTIONS":
            path = self._filled(exchange.path)
            wrong += self._contract.differences(exchange.method, path, status, headers, body)
        return [f"{exchange.title}: {one}" for one in wrong]

    async def _ask(self, exchange: Exchange) -> tuple[int, Any, Any]:
        async with asyncio.timeout(PATIENCE):
            while True:
                async with self._session.request(
                    exchange.method,
                    self._url + self._filled(exchange.path),
                    headers={name: self._filled(text) for name, text in exchange.headers.items()},
                    data=self._filled(exchange.body).encode() or None,
                ) as answer:
                    raw = await answer.text()
                    if exchange.until is None or exchange.until.replace(" ", "") in raw.replace(" ", ""):
                        return answer.status, answer.headers, json.loads(raw) if raw else None
                await asyncio.sleep(0.05)  # the interval of a polling client

    def _filled(self, text: str) -> str:
        return re.sub(r"\{\{(\w+)\}\}", lambda found: self.known[found[1]], text)

    def differences(self, found: Any, wanted: Any, where: str) -> list[str]:
        if isinstance(wanted, dict) and isinstance(found, dict):
            odd = [f"{where}.{name} is missing" for name in wanted.keys() - found.keys()]
            odd += [f"{where}.{name} is not expected: {found[name]!r}" for name in found.keys() - wanted.keys()]
            for name in wanted:  # in the order in which it was written down: what is kept may be said again below
                if name in found:
                    odd += self.differences(found[name], wanted[name], f"{where}.{name}")
            return odd
        if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
            return [
                one
                for index, (mine, theirs) in enumerate(zip(found, wanted, strict=True))
                for one in self.differences(mine, theirs, f"{where}[{index}]")
            ]
        if isinstance(wanted, str):
            if (wild := _WILD.fullmatch(wanted)) is not None:
                if not _fits(found, wild[1]):
                    return [f"{where} is {found!r}, not {wanted}"]
                if wild[2]:
                    self.known[wild[2]] = str(found)
                return []
            wanted = self._filled(wanted)
        same = type(found) is type(wanted) and found == wanted
        return [] if same else [f"{where} is {found!r}, not {wanted!r}"]


def _fits(found: Any, kind: str) -> bool:
    match kind:
        case "uuid":
            return isinstance(found, str) and str(UUID(found)) == found
        case "ms":
            return type(found) is int and abs(found / 1000 - time.time()) < _HOUR
        case "iso":
            return (
                isinstance(found, str)
                and found.endswith("Z")
                and abs(datetime.fromisoformat(found).timestamp() - time.time()) < _HOUR
            )
        case "int":
            return type(found) is int and found >= 0
        case "float":
            return type(found) in (int, float) and found >= 0
        case "any":
            return True
        case _:
            return isinstance(found, str) and found != ""
