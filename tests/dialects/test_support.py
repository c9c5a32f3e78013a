"""What each dialect says it supports is what it has routes for, and the other way round."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields

from proto import REGISTRY
from services.gateway.dialects import Edge
from services.gateway.dialects.external import routes as external
from services.gateway.dialects.external import translate as external_words
from services.gateway.dialects.gdluxx import routes as gdluxx
from services.gateway.dialects.gdluxx import translate as gdluxx_words
from services.gateway.dialects.jobs import routes as jobs
from services.gateway.dialects.jobs import shown
from services.gateway.dialects.jobs import translate as jobs_words
from services.gateway.dialects.webgui import routes as webgui
from services.gateway.dialects.webgui import translate as webgui_words
from tests.dialects.contract import DOCUMENTS

NOTHING: Any = None
EDGE = Edge(
    ask=NOTHING, blobs=NOTHING, guard=NOTHING, signer=NOTHING, policy=NOTHING, base_url="", version="",
    download_signer=NOTHING, download_connections=16, download_seconds=1,
)  # fmt: skip
"""Handlers are only listed here, never called."""
ROUTES: dict[str, Sequence[Any]] = {
    "gdluxx": gdluxx.routes(EDGE),
    "external": external.routes(EDGE),
    "jobs": jobs.routes(EDGE),
    "webgui": webgui.routes(EDGE, NOTHING),
}
STATUS_OF_REFUSALS = {
    "gdluxx": gdluxx_words.STATUS,
    "external": external_words.STATUS_OF_REFUSAL,
    "jobs": jobs_words.STATUS_OF_REFUSAL,
    "webgui": webgui_words.STATUS_OF_REFUSAL,
}


def calls_with_routes(dialect: str) -> set[str]:
    found = set()
    for handler in ROUTES[dialect]:
        methods = getattr(handler, "http_methods", {"WS"}) - {"OPTIONS"}
        for path in handler.paths:
            if path.startswith("/api/jobs/"):
                continue  # the same calls below a prefix
            plain = re.sub(r"\{\w+:\w+\}", "{id}", path)
            found |= {f"{method} {plain}" for method in methods}
    return found


def support(dialect: str) -> dict[str, dict]:
    path = Path(gdluxx.__file__).parents[1] / dialect / "support.toml"
    return tomllib.loads(path.read_text())


def table(dialect: str) -> dict[str, str]:
    return support(dialect)["calls"]


@pytest.mark.parametrize("dialect", ROUTES)
def test_every_route_is_a_call_of_the_original_that_is_said_to_be_supported(dialect: str):
    assert calls_with_routes(dialect) == {call for call, state in table(dialect).items() if state == "supported"}


@pytest.mark.parametrize("dialect", DOCUMENTS)
def test_every_route_is_in_the_dialects_document_and_nothing_else_is(dialect: str):
    described = {re.sub(r"\{\w+\}", "{id}", call) for call in DOCUMENTS[dialect].calls()}

    assert described == calls_with_routes(dialect)


@pytest.mark.parametrize("dialect", ROUTES)
def test_a_call_is_supported_refused_with_a_reason_or_missing(dialect: str):
    assert all(re.fullmatch(r"supported|missing|refused: .+", state) for state in table(dialect).values())


def test_every_field_of_the_originals_jobs_is_shown_or_refused_with_a_reason():
    told = support("jobs")["fields"]
    states = [state for of_one in told.values() for state in of_one.values()]
    ours = {"waiting_for", "waiting_until"}

    assert {name for name, state in told["GET /jobs/{id}"].items() if state == "supported"} == {
        field.encode_name for field in fields(shown.Job)
    } - ours
    assert all(re.fullmatch(r"supported|refused: .+", state) for state in states)


@pytest.mark.parametrize("dialect", ROUTES)
def test_only_refusals_that_exist_are_translated_and_all_of_them_are_the_clients_fault(dialect: str):
    statuses = STATUS_OF_REFUSALS[dialect]

    assert statuses.keys() <= REGISTRY.refusals.keys()
    assert all(400 <= status < 500 for status in statuses.values())
