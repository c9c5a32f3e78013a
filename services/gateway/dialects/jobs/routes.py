"""All their calls, at the root and below /api/jobs."""

from __future__ import annotations

from litestar import route
from litestar.handlers import HTTPRouteHandler

from services.gateway.dialects import Edge
from services.gateway.dialects.jobs import account, batches, single, targets
from services.gateway.dialects.jobs.desk import Desk, problem

ROOTS = ("", "/api/jobs")


def routes(edge: Edge) -> list[HTTPRouteHandler]:
    desk = Desk(edge)
    # The answer carries its own status; DELETE would otherwise be 204, which has no body.
    return [
        route([root + path for root in ROOTS], http_method=[method], status_code=200)(desk.answering(handler))
        for part in (single, batches, account, targets)
        for method, path, handler in part.TABLE
    ]


__all__ = ["problem", "routes"]
