"""What every service answers to its operator: how far behind it is, and what it put aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg
import msgspec
import structlog

from libs.bus import Bus
from libs.calls import Answer, serve
from libs.database import AWAY
from libs.eventstore import letters
from libs.eventstore.letters import Letter
from libs.eventstore.projection import Follower
from libs.message import Refused
from libs.runtime import Resources
from proto.any import (
    DeadLetter,
    DropDeadLetter,
    Health,
    ListDeadLetters,
    NoSuchDeadLetter,
    ReadDeadLetter,
    ReadHealth,
    RedriveDeadLetter,
    StillDead,
)

log = structlog.get_logger()


async def read_health(_: ReadHealth, resources: Resources, pool: asyncpg.Pool, service: str) -> Answer:
    return Answer(
        Health(
            relay=None if resources.relay is None else resources.relay.lag_seconds,
            consumers={name: one.lag_seconds for name, one in resources.followers.items()},
            dead_letters=await letters.count(pool, service),
        )
    )


async def list_dead_letters(query: ListDeadLetters, pool: asyncpg.Pool, service: str) -> Answer:
    return Answer([_shown(one) for one in await letters.letters(pool, service, query.limit)])


async def read_dead_letter(query: ReadDeadLetter, pool: asyncpg.Pool, service: str) -> Answer:
    found = await letters.letter(pool, service, query.consumer, query.sequence)
    if found is None:
        raise Refused(_missing(query.consumer, query.sequence))
    return Answer(_shown(found, msgspec.json.decode(found.body)))


async def redrive_dead_letter(command: RedriveDeadLetter, resources: Resources) -> Answer:
    follower: Follower | None = resources.followers.get(command.consumer)
    try:
        if follower is None or not await follower.redrive(command.sequence):
            raise Refused(_missing(command.consumer, command.sequence))
    except Refused:
        raise
    except AWAY:
        raise
    except Exception as error:
        await log.awarning("dead_letter.kept", consumer=command.consumer, sequence=command.sequence, reason=repr(error))
        raise Refused(StillDead(message=f"it still can not be applied: {error!r}")) from error
    return Answer()


async def drop_dead_letter(command: DropDeadLetter, pool: asyncpg.Pool, service: str) -> Answer:
    if not await letters.drop(pool, service, command.consumer, command.sequence):
        raise Refused(_missing(command.consumer, command.sequence))
    return Answer()


def _shown(one: Letter, event: Mapping[str, Any] | None = None) -> DeadLetter:
    return DeadLetter(
        consumer=one.consumer,
        sequence=one.sequence,
        event_type=one.type,
        error=one.error,
        at=one.at,
        event=None if event is None else dict(event),
    )


def _missing(consumer: str, sequence: int) -> NoSuchDeadLetter:
    return NoSuchDeadLetter(message=f"{consumer} has put aside no event {sequence}")


HANDLERS = (read_health, list_dead_letters, read_dead_letter, redrive_dead_letter, drop_dead_letter)


async def answer_operator(bus: Bus, service: str, pool: asyncpg.Pool, resources: Resources) -> None:
    await serve(bus, service, HANDLERS, {"pool": pool, "service": service, "resources": resources})
