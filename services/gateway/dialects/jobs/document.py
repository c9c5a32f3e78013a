"""Their calls as an OpenAPI document."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from libs.contracts.openapi import Api, Call, document
from services.gateway.dialects.jobs import shown, wire
from services.gateway.dialects.jobs.shown import Problem
from services.gateway.dialects.jobs.targets import KINDS

PATH = "/api/jobs/openapi.json"

DESCRIPTION = """\
Errors are `{"error": text}`. 400: a value that can not be used, or a state in which the call makes no sense. 401: no
key, or a wrong one. 403: the storage quota is used up. 404: nothing of yours has this id. 422: JSON of the wrong
shape. 429: far too many requests. 503: a service is restarting.
"""

_PROBLEM = (Problem,)
_ALWAYS = {401: _PROBLEM, 429: _PROBLEM, 503: _PROBLEM}
_READ = {400: _PROBLEM, 413: _PROBLEM, 422: _PROBLEM}
"""Of calls that bring a body."""
_ONE = {400: _PROBLEM, 404: _PROBLEM}
"""Of calls about one thing."""
_FULL = (shown.Quota,)
_SLOW = {504: _PROBLEM}
"""Of calls that wait for a site."""


def _call(summary: str, answers: dict[int, tuple[Any, ...]], **more: Any) -> Call:
    read = _READ if more.get("body") is not None else {}
    return Call(summary=summary, answers={**answers, **_ALWAYS, **read}, **more)


def _job(summary: str, kind: type[Struct]) -> Call:
    return _call(summary, {200: (kind,), **_ONE}, path=wire.OneJob)


def calls() -> dict[str, Call]:
    """By method and path."""
    repeatable: dict[str, Any] = {"header": wire.Repeatable}
    return {
        "POST /jobs": _call(
            "Download what is behind a link; a playlist, a channel, a show or a feed becomes a batch",
            {201: (shown.Created, shown.Collected), 403: _FULL, 409: _PROBLEM, **_SLOW},
            body=wire.Create,
            **repeatable,
        ),
        "GET /jobs": _call("All jobs, newest first", {200: (shown.Listing,)}, query=wire.Page),
        "GET /jobs/{job_id}": _job("One job, with links to its files that are good for a day", shown.Job),
        "DELETE /jobs/{job_id}": _job("Cancel a job that has not ended", shown.Cancelled),
        "POST /jobs/{job_id}/retry": _call(
            "Try a failed job again, as a new one",
            {201: (shown.Retried,), 403: _FULL, 409: _PROBLEM, **_ONE},
            path=wire.OneJob,
            **repeatable,
        ),
        "DELETE /jobs/{job_id}/file": _job("Delete what a job has stored", shown.FileDeleted),
        "POST /jobs/bulk": _call(
            "Up to a hundred links at once",
            {201: (shown.BulkCreated,), 403: _FULL, 409: _PROBLEM},
            body=wire.Bulk,
            **repeatable,
        ),
        "POST /metadata": _call("What is behind a link", {200: (shown.Metadata,), **_SLOW}, body=wire.Look),
        "POST /is-short": _call("Whether a film is a short", {200: (shown.Shortness,), **_SLOW}, body=wire.Look),
        "GET /batch/{batch_id}": _call("A batch", {200: (shown.Batch,), **_ONE}, path=wire.OneBatch),
        "PATCH /batch/{batch_id}/jobs": _call(
            "Name the files of a batch that waits",
            {200: (shown.Renamed,), **_ONE},
            path=wire.OneBatch,
            body=wire.Renames,
        ),
        "POST /batch/{batch_id}/start": _call(
            "Start a batch that waits", {200: (shown.Started,), **_ONE}, path=wire.OneBatch
        ),
        "GET /usage": _call("What was used so far", {200: (shown.Usage,)}),
        "GET /dashboard/stats": _call("How many jobs are in which state", {200: (shown.Stats,)}),
        "GET /dashboard/jobs": _call("The latest jobs", {200: (shown.DashboardJobs,)}, query=wire.LatestPage),
        "GET /dashboard/batches": _call("The latest batches", {200: (shown.DashboardBatches,)}, query=wire.Latest),
        "GET /dashboard/daily": _call("What ended on each of the last seven days", {200: (shown.Daily,)}),
        "GET /dashboard/cluster": _call("What is being done now", {200: (shown.Cluster,)}),
        "GET /dashboard/billing": _call("Nothing is billed", {200: (shown.Billing,)}),
        "GET /user/webhook-secret": _call("What webhooks are signed with", {200: (shown.Secret,)}),
        "POST /user/webhook-secret/rotate": _call("Sign webhooks with another secret", {200: (shown.Secret,)}),
        "POST /user/slack": _call("Tell a Slack channel how jobs end", {200: (shown.SlackKept,)}, body=wire.Slack),
        "GET /user/slack": _call("Which Slack channel is told", {200: (shown.SlackShown, shown.NoSlack)}),
        "DELETE /user/slack": _call("Tell no Slack channel", {200: (shown.Message,), 404: _PROBLEM}),
        **_targets(),
    }


def _targets() -> dict[str, Call]:
    found = {}
    for path, (_, kind, name, _) in KINDS.items():
        found[f"POST /user/{path}"] = _call(
            f"{name} of your own; it is tried out first", {200: (shown.TargetKept,)}, body=kind
        )
        found[f"DELETE /user/{path}"] = _call(f"Forget it: {name}", {200: (shown.Message,), 404: _PROBLEM})
        found[f"GET /user/{path}"] = _call(f"What is known of it: {name}", {200: (shown.TargetShown, shown.NoTarget)})
    return found


def openapi(version: str) -> bytes:
    return msgspec.json.encode(
        document(
            Api(
                title="Longshore: jobs",
                version=version,
                description=DESCRIPTION,
                roots=("/", "/api/jobs"),
                keys={
                    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                    "bearer": {"type": "http", "scheme": "bearer"},
                },
                headers={429: {"Retry-After": "Seconds"}, 503: {"Retry-After": "Seconds"}},
                calls=calls(),
            )
        )
    )
