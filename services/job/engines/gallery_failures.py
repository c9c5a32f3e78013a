"""What gallery-dl's exit status and log lines mean for a job."""

from __future__ import annotations

import re
from collections.abc import Iterable

from proto.job import Failure
from services.job.engines.statuses import Verdict, by_status

UNSUPPORTED = 64
_BITS: tuple[tuple[int, Verdict], ...] = (
    (16, ("auth_required", "auth_required", "the site asks for a login")),
    (8, ("content", "challenge", "the site wants to see a person first")),
    (128, ("transient", "disk_error", "the files could not be written")),
    (32, ("permanent", "bad_options", "the options do not fit this site")),
    (4, ("transient", "extraction_failed", "the site's answer could not be used")),
)
"""Of the exit status, the most telling first."""
_STATUS = re.compile(r"'(\d{3}) ")
_SAID: tuple[tuple[str, Verdict], ...] = (
    (
        r"(?i)egress refused|(Tunnel connection failed|ProxyError): 403",
        ("permanent", "egress_refused", "this address may not be reached"),
    ),
    (r"(Tunnel connection failed|ProxyError): 407", ("transient", "egress_lost", "the way out was closed")),
    (
        r"Tunnel connection failed|ProxyError|NewConnectionError|NameResolutionError",
        ("host_down", "unreachable", "the server can not be reached"),
    ),
    (
        r"(?i)access token|log ?in\b|authenticated cookies",
        ("auth_required", "auth_required", "the site asks for a login"),
    ),
    (
        r"No space left|Disk quota|File too large",
        ("transient", "disk_full", "there is no room for this file: the disk is full; make room on it"),
    ),
    (r"NotFoundError|could not be found", ("content", "gone", "there is nothing behind this link")),
    (r"HTML response|Invalid response|Empty file|signature", ("content", "not_a_file", "there is no file behind it")),
    (r"not supported/enabled", ("content", "unsupported_part", "this part of the page can not be downloaded")),
    (
        r"[Tt]imed? ?out|Connection(Reset|Aborted)?|RemoteDisconnected|IncompleteRead|ProtocolError",
        ("transient", "connection_lost", "the connection was lost"),
    ),
)
"""Patterns of log lines, the most telling first."""


def exit_failure(status: int, errors: Iterable[str], *, asked_for: bool) -> Failure:
    if status & UNSUPPORTED:
        return _failure(
            (
                "content",
                "unsupported_url" if asked_for else "not_mine",
                "nothing that can be downloaded was found behind this link",
            )
        )
    said = _said(errors)
    if said is not None:
        return said
    for bit, verdict in _BITS:
        if status & bit:
            return _failure(verdict)
    return _failure(("transient", "engine_error", "the download failed"))


def failure_in(warnings: Iterable[str]) -> Failure:
    """Of one file, by what was logged about it."""
    return _said(warnings) or _failure(("transient", "download_failed", "this file could not be downloaded"))


def _said(lines: Iterable[str]) -> Failure | None:
    text = "\n".join(lines)
    for pattern, verdict in _SAID[:1]:
        if re.search(pattern, text):
            return _failure(verdict)
    if statuses := _STATUS.findall(text):
        return _failure(by_status(int(statuses[-1])))
    for pattern, verdict in _SAID[1:]:
        if re.search(pattern, text):
            return _failure(verdict)
    return None


def _failure(verdict: Verdict) -> Failure:
    kind, code, message = verdict
    return Failure(kind=kind, code=code, message=message)
