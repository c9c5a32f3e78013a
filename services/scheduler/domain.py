"""When a schedule is due, and what its name is in URLs. Pure; the clock is an argument."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from uuid import UUID, uuid5

from cronsim import CronSim, CronSimError

from proto.scheduler import BadCron

FIELDS = 5
"""With a sixth cronsim would count seconds."""
_NOT_SLUG = re.compile(r"[^a-z0-9]+")


def check_cron(cron: str, at: datetime) -> BadCron | None:
    """Five fields, and due at least once within cronsim's horizon of fifty years."""
    if len(cron.split()) != FIELDS:
        return BadCron(message="not a cron expression: it has five fields, from minute to day of the week")
    try:
        next(CronSim(cron, at))
    except CronSimError as error:
        return BadCron(message=f"not a cron expression: {error}")
    except StopIteration:
        return BadCron(message="this expression never comes due")
    return None


def next_run(cron: str, after: datetime) -> datetime:
    """Runs that were missed while the system was down are not made up one by one: the first is run late, once."""
    return next(CronSim(cron, after))


def slug(name: str, taken: frozenset[str]) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = _NOT_SLUG.sub("-", plain).strip("-")[:80].rstrip("-") or "schedule"
    if base not in taken:
        return base
    return next(f"{base}-{n}" for n in range(2, len(taken) + 3) if f"{base}-{n}" not in taken)


def run_id(schedule_id: UUID, due: datetime) -> UUID:
    """The job of one run has one id, however often the clock fires for it."""
    return uuid5(schedule_id, due.isoformat())
