"""What travels between services: commands, events, refusals, their envelope, and their lookup by tag.

A message's tag (`job.submit`) is written once, in its struct; subject, stored type, schema file, log field
and span name are derived from it, so renaming a class changes nothing on the wire.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, ClassVar, cast
from uuid import UUID

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """An imperative to the one service that owns the decision; answered after its commit."""


class Query(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """A question to one service; never changes state."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A fact in the past tense. Readers tolerate unknown fields; a field is only ever added, with a default."""

    schema_version: ClassVar[int] = 1


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """An expected "no". It is an answer, not an error: nobody logs it as one."""

    message: str


class Refused(Exception):
    """Carries a refusal from the decision to the one place that answers."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Position(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A place in one service's feed. Total order is (txid, number): see eventstore for why txid comes first."""

    txid: int
    number: int

    def __str__(self) -> str:
        return f"{self.txid}.{self.number}"

    @staticmethod
    def parse(text: str) -> Position:
        """Inverse of `str`; raises ValueError on anything else."""
        txid, _, number = text.partition(".")
        return Position(int(txid), int(number))


ORIGIN = Position(0, 0)

ANY = "any"
"""The owner in the tags of messages that every service takes; whose it is, is in the subject."""


class Meta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Envelope kept beside every event: who, why, and the trace that caused it."""

    correlation: UUID
    causation: UUID | None = None
    actor: str = ""
    traceparent: str = ""


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): millisecond time first, so indexes grow at one end. Made in the application because
    Postgres before 18 has no function for it."""
    millis = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (
        (millis & ((1 << 48) - 1)) << 80
        | 0x7 << 76
        | (random >> 68 & 0xFFF) << 64
        | 0b10 << 62
        | random & ((1 << 62) - 1)
    )
    return UUID(int=value)


def tag(message: type[msgspec.Struct] | msgspec.Struct) -> str:
    """The wire name of a message or message class."""
    config = message.__struct_config__
    assert isinstance(config.tag, str)
    return config.tag


def repr_without(one: msgspec.Struct, *secret: str) -> str:
    """For the `__repr__` of a struct that carries secrets: its fields, without the values of the `secret` ones."""
    fields = (f"{name}={'...' if name in secret else repr(getattr(one, name))}" for name in one.__struct_fields__)
    return f"{type(one).__name__}({', '.join(fields)})"


Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class UnknownMessage(Exception):
    """No message has this tag."""


class Registry:
    """Every message by tag. A duplicate tag fails at import, before anything is sent.

    A proto module may define `UPCASTERS: dict[(tag, from_version), Upcaster]`; each lifts decoded builtins of one
    version to the next and is applied on read, chained.
    """

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        self.commands: dict[str, type[Command]] = {}
        self.queries: dict[str, type[Query]] = {}
        self.events: dict[str, type[Event]] = {}
        self.refusals: dict[str, type[Refusal]] = {}
        self._upcasters: dict[tuple[str, int], Upcaster] = {}
        for module in modules:
            for value in vars(module).values():
                if isinstance(value, type) and value.__module__ == module.__name__:
                    self._add(value)
            self._upcasters |= getattr(module, "UPCASTERS", {})
        self._event_decoders = {name: msgspec.json.Decoder(cls) for name, cls in self.events.items()}
        self._command_decoders = {name: msgspec.json.Decoder(cls) for name, cls in self.commands.items()}

    def _add(self, cls: type) -> None:
        tables: tuple[tuple[type, dict[str, Any]], ...] = (
            (Command, self.commands),
            (Query, self.queries),
            (Event, self.events),
            (Refusal, self.refusals),
        )
        for base, table in tables:
            if issubclass(cls, base):
                name = tag(cast("type[msgspec.Struct]", cls))
                if any(name in other for _, other in tables):
                    raise ValueError(f"two messages are tagged {name!r}")
                table[name] = cls

    def event(self, name: str, version: int, data: bytes) -> Event:
        """Decode a stored event of any version to today's struct.

        Raises UnknownMessage for an unregistered tag and msgspec.ValidationError for a body that does not fit.
        """
        decoder = self._event_decoders.get(name)
        if decoder is None:
            raise UnknownMessage(name)
        current = self.events[name].schema_version
        if version == current:
            return decoder.decode(data)
        body: dict[str, Any] = msgspec.json.decode(data)
        for step in range(version, current):
            body = self._upcasters[name, step](body)
        return msgspec.convert(body, self.events[name])

    def command(self, name: str, data: bytes) -> Command:
        """Decode a command; raises UnknownMessage or msgspec.ValidationError."""
        decoder = self._command_decoders.get(name)
        if decoder is None:
            raise UnknownMessage(name)
        return decoder.decode(data)

    def refusal(self, body: Mapping[str, Any]) -> Refusal:
        """Decode the typed refusal of a reply; raises UnknownMessage for a tag this process does not know."""
        cls = self.refusals.get(str(body.get("type")))
        if cls is None:
            raise UnknownMessage(str(body.get("type")))
        return msgspec.convert(dict(body), cls)
