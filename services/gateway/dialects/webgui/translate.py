"""Between their words and ours. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from libs.message import Event, Refusal, repr_without, tag
from proto.auth import LogIn, RefreshSession, Session, User
from proto.job import (
    JobAttemptFailed,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobItemCompleted,
    JobItemFailed,
    JobItemsSkipped,
    JobStarted,
    JobSubmitted,
    Progress,
)
from services.gateway.domain import JobView

STATUS = {
    "held": "paused",
    "paused": "paused",
    "queued": "pending",
    "admitted": "pending",
    "resolving": "pending",
    "downloading": "downloading",
    "processing": "downloading",
    "storing": "downloading",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "failed",
}

CODES = {
    400: "BAD_REQUEST",
    401: "INVALID_CREDENTIALS",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "PAYLOAD_TOO_LARGE",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMITED",
    500: "INTERNAL_ERROR",
    503: "SERVICE_UNAVAILABLE",
}

STATUS_OF_REFUSAL: dict[str, int] = {
    "auth.bad_credentials": 401,
    "auth.bad_token": 401,
    "auth.locked_out": 429,
    "auth.user_not_found": 404,
}
"""HTTP status of our refusals; any other is 400."""

T = TypeVar("T")
Frame = tuple[str, dict[str, Any]]
"""(type, data)."""


class Invalid(ValueError):
    """The body is not what it must be: 422."""


class _Login(msgspec.Struct, frozen=True):
    username: str
    password: str

    def __repr__(self) -> str:
        return repr_without(self, "password")


class _Refresh(msgspec.Struct, frozen=True):
    refresh_token: str

    def __repr__(self) -> str:
        return repr_without(self, "refresh_token")


def login(body: bytes) -> LogIn:
    given = _decode(body, _Login)
    return LogIn(username=given.username, password=given.password)


def refresh(body: bytes) -> RefreshSession:
    return RefreshSession(refresh_token=_decode(body, _Refresh).refresh_token)


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("Request body is not valid JSON") from error


def session(one: Session) -> dict[str, Any]:
    return {
        "access_token": one.access_token,
        "refresh_token": one.refresh_token,
        "token_type": "bearer",
        "expires_in": one.expires_in,
        "user": _user(one.user),
    }


def refreshed(one: Session) -> dict[str, Any]:
    """The newer refresh token is ours to add: a client that knows only the first goes on with that."""
    return {
        "access_token": one.access_token,
        "token_type": "bearer",
        "expires_in": one.expires_in,
        "refresh_token": one.refresh_token,
    }


def me(user: User) -> dict[str, Any]:
    return {
        **_user(user),
        "created_at": iso(user.created_at),
        "last_login": iso(user.last_login) if user.last_login else None,
    }


def _user(user: User) -> dict[str, Any]:
    return {"id": user.number, "username": user.username, "email": user.email, "role": user.role}


def refusal(refused: Refusal) -> tuple[int, str]:
    """(HTTP status, text)."""
    return STATUS_OF_REFUSAL.get(tag(refused), 400), refused.message


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def item(view: JobView) -> dict[str, Any]:
    """A queue item as the socket shows it; why it waits, and until when, is ours."""
    waits = {"waiting_for": view.waits[0], "waiting_until": iso(view.waits[1])} if view.waits else {}
    return {
        "id": view.number,
        "url": view.url,
        "platform": platform(view),
        "source": source(view),
        "status": STATUS[view.state],
        "priority": view.priority,
        "attempts": view.attempt,
        "title": view.title,
        "error_message": view.failure.message if view.failure and view.state == "failed" else None,
        **waits,
    }


def platform(view: JobView) -> str:
    return view.options.labels.get("platform") or urlsplit(view.url).hostname or ""


def source(view: JobView) -> str | None:
    return view.options.labels.get("source") or view.title


def frames(event: Event, view: JobView) -> list[Frame]:
    """What the watchers of a job are told of an event. `view` is the job after it."""
    name = view.title or view.url
    match event:
        case JobSubmitted():
            return [("queue_updated", {"action": "added", "item": item(view)})]
        case JobCancelled():
            return [("queue_updated", {"action": "removed", "item": item(view)})]
        case JobStarted():
            return [
                ("queue_updated", {"action": "updated", "item": item(view)}),
                _log("INFO", f"Started downloading {name}"),
            ]
        case JobAttemptFailed():
            return [
                ("queue_updated", {"action": "updated", "item": item(view)}),
                _log("WARNING", f"{event.failure.message}; trying again: {name}"),
            ]
        case JobCompleted():
            return [
                ("download_completed", _completed(view, event)),
                ("notification", _notice("success", "Download complete", name)),
            ]
        case JobFailed():
            return [
                ("queue_updated", {"action": "updated", "item": item(view)}),
                ("notification", _notice("error", "Download failed", f"{event.failure.message}: {name}")),
            ]
        case JobItemCompleted() | JobItemsSkipped() | JobItemFailed():
            return []
        case _:
            return [("queue_updated", {"action": "updated", "item": item(view)})]


def _completed(view: JobView, event: JobCompleted) -> dict[str, Any]:
    began = view.started_at or view.submitted_at
    return {
        "queue_id": view.number,
        "url": view.url,
        "platform": platform(view),
        "source": source(view),
        "items_downloaded": event.items_done,
        "duration_seconds": round((event.at - began).total_seconds(), 3),
        "status": "completed",
    }


def _log(level: str, message: str) -> Frame:
    return "log", {"level": level, "module": "Downloads", "message": message}


def _notice(level: str, title: str, message: str) -> dict[str, Any]:
    return {"level": level, "title": title, "message": message, "action": None, "auto_dismiss_seconds": 5}


def progress(signal: Progress, view: JobView) -> Frame:
    share = 0.0
    if signal.total_bytes:
        share = signal.done_bytes / signal.total_bytes
    elif signal.items_total:
        share = signal.items_done / signal.items_total
    return "download_progress", {
        "queue_id": view.number,
        "url": view.url,
        "platform": platform(view),
        "source": source(view),
        "status": "downloading",
        "progress": min(100, int(share * 100)),
        "items_downloaded": signal.items_done,
        "items_total": signal.items_total,
        "current_item": signal.current_item,
        "speed_mbps": round(signal.speed / 1_000_000, 2),
        "eta_seconds": signal.eta,
    }
