"""What an HTTP status means for a job that wanted the bytes behind a link: one table for all engines."""

from __future__ import annotations

from proto.job import FailureKind

Verdict = tuple[FailureKind, str, str]
"""Kind, code and message of a `proto.job.Failure`."""

_VERDICTS: dict[int, Verdict] = {
    401: ("auth_required", "auth_required", "the server asks for a login"),
    403: ("content", "forbidden", "the server refuses this link"),
    404: ("content", "gone", "there is nothing behind this link"),
    408: ("transient", "http_408", "the server was too slow"),
    410: ("content", "gone", "what was behind this link is gone"),
    416: ("transient", "wrong_range", "the server refused to go on where we were"),
    425: ("transient", "http_425", "the server is not ready"),
    429: ("rate_limited", "http_429", "the server asks to wait"),
    451: ("content", "gone", "what was behind this link was taken down"),
}


def by_status(status: int) -> Verdict:
    """Of a status that brings no bytes. Server errors pass; a status that is not in the table is the link's own."""
    if status >= 500:
        return "transient", f"http_{status}", f"the server answers with error {status}"
    return _VERDICTS.get(status, ("content", f"http_{status}", f"the server answers with status {status}"))
