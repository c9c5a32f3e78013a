"""Commands and queries between services: who asks, who answers, and what "no" looks like on the wire.

A reply is one JSON object: `{"ok": result, "position": "txid.number"}`, or `{"refused": {...}}` with a typed refusal,
or `{"failed": text}` when the owner met a bug. The owner answers after its commit, so "ok" means: on disk.
"""

from __future__ import annotations

import inspect
import time
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload
from uuid import UUID

import msgspec
import structlog
from prometheus_client import Counter, Histogram

from libs import telemetry
from libs.bus import Bus, Message
from libs.message import (
    ANY,
    Command,
    Meta,
    Position,
    Query,
    Refusal,
    Refused,
    Registry,
    new_id,
    repr_without,
    tag,
)

log = structlog.get_logger()
R = TypeVar("R")

ANSWERED = Counter("longshore_calls_total", "Commands and queries answered", ["message", "outcome"])
SECONDS = Histogram(
    "longshore_call_seconds",
    "Time to decide and commit",
    ["message"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5),
)
DEADLINE = 5.0
"""Seconds an asker waits unless it says otherwise."""


DATABASE_FULL = "the disk of the database is full"
_DISK_FULL = "53100"
"""Postgres' own number for it."""


class ServiceFailed(Exception):
    """The owner of a message met a bug or lost its database; it has logged what happened."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What came with a message. `command_id` is the client's idempotency key, None when it had none."""

    meta: Meta
    command_id: UUID | None
    actor: str
    deadline: float
    """Unix seconds; nobody waits for the answer after it."""
    body: bytes

    def __repr__(self) -> str:
        return repr_without(self, "body")


@dataclass(frozen=True)
class Answer:
    """A handler's yes: a result that msgspec can encode, and the place of its last event in the owner's feed."""

    result: object = None
    position: Position | None = None


class _Reply(msgspec.Struct, omit_defaults=True):
    ok: msgspec.Raw = msgspec.Raw(b"")
    position: str | None = None
    refused: dict[str, Any] | None = None
    failed: str | None = None


_encode = msgspec.json.Encoder().encode
_decode_reply = msgspec.json.Decoder(_Reply).decode
NULL = msgspec.Raw(b"null")


def subject(message: type[msgspec.Struct], of: str = "{service}") -> str:
    """`cmd.<service>.<verb>` or `q.<service>.<name>`, from the tag alone. `of` is whose it is when any takes it."""
    owner, _, verb = tag(message).partition(".")
    service = of if owner == ANY else owner
    return f"{'q' if issubclass(message, Query) else 'cmd'}.{service}.{verb}"


class Caller:
    """Asks other services. `source` names the asking service in headers and logs."""

    def __init__(self, bus: Bus, registry: Registry, source: str) -> None:
        self._bus = bus
        self._registry = registry
        self._source = source
        self._results: dict[Any, msgspec.json.Decoder[Any]] = {}

    @overload
    async def command(
        self,
        message: Command | Query,
        *,
        result: type[R],
        actor: str = ...,
        command_id: UUID | None = ...,
        timeout: float = ...,
        of: str = ...,
    ) -> tuple[R, Position | None]: ...
    @overload
    async def command(
        self,
        message: Command | Query,
        *,
        actor: str = ...,
        command_id: UUID | None = ...,
        timeout: float = ...,
        of: str = ...,
    ) -> tuple[None, Position | None]: ...
    async def command(
        self,
        message: Command | Query,
        *,
        result: Any = None,
        actor: str = "",
        command_id: UUID | None = None,
        timeout: float = DEADLINE,
        of: str = "",
    ) -> tuple[Any, Position | None]:
        """`of` names the service for a message that any takes. Raises Refused, ServiceFailed, and the bus's Unreachable
        (nobody answers), ConnectionLost and TimedOut (the outcome is unknown: with a `command_id` it is safe to ask
        again)."""
        headers = {
            "ce-id": str(new_id()),
            "ce-type": tag(message),
            "ce-source": self._source,
            "actor": actor,
            "deadline": f"{time.time() + timeout:.3f}",
            "traceparent": telemetry.traceparent(),
        }
        if command_id is not None:
            headers["command-id"] = str(command_id)
        message_type = type(message)
        answer = await self._bus.ask(subject(message_type, of), _encode(message), headers, timeout)
        reply = _decode_reply(answer.body)
        if reply.refused is not None:
            raise Refused(self._registry.refusal(reply.refused))
        if reply.failed is not None:
            raise ServiceFailed(reply.failed)
        position = Position.parse(reply.position) if reply.position else None
        if result is None or not bytes(reply.ok):
            return None, position
        decoder = self._results.get(result)
        if decoder is None:
            decoder = self._results[result] = msgspec.json.Decoder(result)
        return decoder.decode(reply.ok), position

    async def query(self, message: Query, *, result: type[R], timeout: float = DEADLINE, of: str = "") -> R:
        value, _ = await self.command(message, result=result, timeout=timeout, of=of)
        return value


Handler = Callable[..., Awaitable[Answer]]


async def serve(
    bus: Bus,
    service: str,
    handlers: Iterable[Handler],
    needs: Mapping[str, object],
    concurrency: int = 64,
) -> None:
    """Subscribe every handler to the message its first parameter is annotated with. Other parameters are filled by
    name: `call` with the Call, the rest from `needs`; a name that is not there raises TypeError now, not later."""
    for handler in handlers:
        hints = typing.get_type_hints(handler)
        names = list(inspect.signature(handler).parameters)
        kind = hints[names[0]]
        missing = [name for name in names[1:] if name != "call" and name not in needs]
        if missing:
            raise TypeError(f"{handler.__qualname__} needs {', '.join(missing)}")
        given = {name: needs[name] for name in names[1:] if name != "call"}
        await bus.answer(
            subject(kind, service), service, _answering(handler, kind, "call" in names, given), concurrency
        )


def _answering(
    handler: Handler, kind: type[Command | Query], wants_call: bool, given: Mapping[str, object]
) -> Callable[[Message], Awaitable[bytes | None]]:
    decoder = msgspec.json.Decoder(kind)
    name = tag(kind)
    outcomes = {outcome: ANSWERED.labels(name, outcome) for outcome in ("ok", "refused", "failed", "expired")}
    seconds = SECONDS.labels(name)

    async def answer(message: Message) -> bytes | None:
        call = _call(message)
        if call.deadline < time.time():
            outcomes["expired"].inc()
            return None
        started = time.perf_counter()
        with telemetry.span(name, parent=call.meta.traceparent, server=True):
            try:
                command = decoder.decode(message.body)
                extra = {"call": call, **given} if wants_call else given
                done = await handler(command, **extra)
            except Refused as refused:
                outcomes["refused"].inc()
                return _encode(_Reply(refused=_builtins(refused.refusal)))
            except msgspec.ValidationError as error:
                outcomes["failed"].inc()
                return _encode(_Reply(failed=f"decode {name}: {error}"))
            except Exception as error:  # noqa: BLE001 -  # the one place where an owner's bug ends; the asker gets a typed failure
                outcomes["failed"].inc()
                await log.aexception("call.failed", message=name)
                return _encode(_Reply(failed=f"{name}: {_named(error)}"))
        outcomes["ok"].inc()
        seconds.observe(time.perf_counter() - started)
        result = NULL if done.result is None else msgspec.Raw(_encode(done.result))
        return _encode(_Reply(ok=result, position=str(done.position) if done.position else None))

    return answer


def _named(error: Exception) -> str:
    """A bug's kind says enough for its finder; that the disk is full is for whoever can make room."""
    return DATABASE_FULL if getattr(error, "sqlstate", None) == _DISK_FULL else type(error).__name__


def _builtins(refusal: Refusal) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(refusal)
    return built


def _call(message: Message) -> Call:
    headers = message.headers
    command_id = headers.get("command-id")
    meta = Meta(
        correlation=UUID(headers["ce-id"]), actor=headers.get("actor", ""), traceparent=headers.get("traceparent", "")
    )
    return Call(
        meta=meta,
        command_id=UUID(command_id) if command_id else None,
        actor=meta.actor,
        deadline=float(headers.get("deadline", "0")),
        body=message.body,
    )


__all__ = ["DEADLINE", "Answer", "Call", "Caller", "ServiceFailed", "serve", "subject"]
