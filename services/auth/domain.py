"""Rules of signing in, sessions and keys. Pure; clock, chance and ids are arguments."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct, ValidationError, convert

from libs.message import Event, Refusal
from proto.auth import (
    BadToken,
    BadWindow,
    IssueKey,
    KeyIssued,
    Limits,
    LimitsSet,
    LockedOut,
    NotAdmin,
    SessionEnded,
    SetLimits,
    User,
    Username,
    WeakPassword,
)

ACCESS_LIFE = timedelta(minutes=15)
SESSION_LIFE = timedelta(days=60)
FREE_FAILURES = 5
"""Wrong passwords before the first lock-out."""
FIRST_LOCKOUT = timedelta(seconds=5)
LONGEST_LOCKOUT = timedelta(minutes=15)
FORGIVEN_AFTER = timedelta(hours=6)
"""After its last lock-out wrong passwords of a name are forgotten, also one that nobody has. Who waits for that tries
less often than who sits out the longest lock-out again and again."""
SHORTEST_PASSWORD = 8
KEY_PREFIX = {"gdluxx": "sk_", "jobs": "sk_", "external": "obb_"}
_ONE_CHARACTER = re.compile(r"(.)\1*")


class Lockout(Struct, frozen=True):
    failures: int
    locked_until: datetime


class SessionState(Struct, frozen=True, kw_only=True):
    session_id: UUID
    user_id: UUID
    generation: int
    """The newest refresh token that was ever presented."""
    expires_at: datetime
    ended_at: datetime | None


def is_username(text: str) -> bool:
    try:
        convert(text, Username)
    except ValidationError:
        return False
    return True


def check_password(password: str) -> WeakPassword | None:
    if len(password) < SHORTEST_PASSWORD or _ONE_CHARACTER.fullmatch(password):
        return WeakPassword(message=f"a password needs at least {SHORTEST_PASSWORD} characters, not all the same")
    return None


def may_try(lockout: Lockout | None, at: datetime) -> LockedOut | None:
    if lockout is None or lockout.locked_until <= at:
        return None
    seconds = int((lockout.locked_until - at).total_seconds()) + 1
    return LockedOut(message=f"too many wrong passwords; try again in {seconds} s", retry_after=seconds)


def after_failure(lockout: Lockout | None, at: datetime) -> Lockout:
    failures = (lockout.failures if lockout else 0) + 1
    excess = failures - FREE_FAILURES
    delay = min(FIRST_LOCKOUT * (1 << min(excess, 16)), LONGEST_LOCKOUT) if excess >= 0 else timedelta(0)
    return Lockout(failures, at + delay)


def refresh(session: SessionState | None, generation: int, at: datetime) -> list[Event] | Refusal:
    """Every refresh hands out a newer token, yet the older one stays good until the newer is used: a client that keeps
    its first token for ever works, and a stolen token betrays itself the moment both it and its successor are used.
    """
    if session is None or session.ended_at is not None or session.expires_at <= at:
        return BadToken(message="this refresh token is not valid")
    if generation < session.generation:
        return [SessionEnded(user_id=session.user_id, session_id=session.session_id, reason="reused_token", at=at)]
    return []


def issue_key(command: IssueKey, key_id: UUID, owner: UUID, at: datetime) -> KeyIssued:
    return KeyIssued(
        key_id=key_id,
        owner=owner,
        dialect=command.dialect,
        name=command.name,
        at=at,
        expires_at=command.expires_at,
        webhook_style=command.webhook_style,
        status_style=command.status_style,
    )


def set_limits(command: SetLimits, user: User, known: Limits, by: User | None, at: datetime) -> list[Event] | Refusal:
    """`by` is who `command.by` names: an admin, or nobody. The same limits again are no event."""
    if command.by is not None and (by is None or by.role != "admin"):
        return NotAdmin(message="only an admin sets limits")
    for window in command.limits.windows:
        if window.opens == window.closes:
            return BadWindow(message=f"a window can not open and close at {window.opens}")
    if command.limits == known:
        return []
    return [LimitsSet(user_id=user.user_id, limits=command.limits, at=at)]
