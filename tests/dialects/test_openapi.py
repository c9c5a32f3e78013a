"""The OpenAPI documents against an installation: whatever is asked, the answer is a documented one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.dialects.contract import DOCUMENTS, document

SEED = 20261121
EXAMPLES = 6
"""Of each call and each kind."""
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
NOBODYS = "01890000-0000-7000-8000-000000000000"
PATIENCE = 60.0


class Asker:
    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.headers.update(headers)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.session.request(method, self.url + path, json=body, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def history(self, site) -> list[str]:
        """Ids of jobs and a batch in each state that a call can meet."""
        done, gone = (
            self.call("POST", "/jobs", {"url": link})["job_id"]
            for link in (site.file(1000, f"{uuid4().hex}.bin"), site.url("/status/404"))
        )
        held = self.call("POST", "/jobs/bulk", {"jobs": [{"url": site.file(1000, "held.bin")}], "paused": True})
        until = time.monotonic() + PATIENCE
        while {self.call("GET", f"/jobs/{one}")["step"] for one in (done, gone)} != {"Finished"}:
            assert time.monotonic() < until
            time.sleep(0.05)  # the interval of a polling client
        return [done, gone, held["batch_id"], *held["job_ids"]]


@pytest.fixture
def askers(user) -> dict[str, Asker]:
    return {
        "jobs": Asker(user.system.url, {"x-api-key": user.keys["jobs"]}),
        "gdluxx": Asker(user.system.url, {"Authorization": f"Bearer {user.keys['gdluxx']}"}),
    }


def operations(dialect: str) -> Iterator[Any]:
    for found in schemathesis.openapi.from_dict(document(dialect)).get_all_operations():
        assert isinstance(found, Ok)
        yield found.ok()


def asking(asker: Asker, strategy: Any) -> Callable[[], None]:
    """The same cases each time, without a database of those that failed."""

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(case=strategy)
    def check(case: Case) -> None:
        case.call_and_validate(base_url=asker.url, session=asker.session, checks=CHECKS, timeout=60)

    return check


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize("dialect", DOCUMENTS)
def test_whatever_is_asked_the_answer_is_a_documented_one(dialect: str, mode: GenerationMode, askers, site):
    ids = askers["jobs"].history(site) if dialect == "jobs" else []
    schemathesis.openapi.format("uuid", st.sampled_from([*ids, NOBODYS]))
    links = [site.file(1000, "one.bin"), site.url("/status/404"), "http://10.0.0.1/", "https://[", "ftp://a.test/"]
    schemathesis.openapi.format("uri", st.sampled_from(links))
    for operation in operations(dialect):
        if mode is GenerationMode.POSITIVE or operation.body or operation.query or operation.path_parameters:
            asking(askers[dialect], operation.as_strategy(generation_mode=mode))()


@pytest.mark.parametrize("dialect", DOCUMENTS)
def test_nothing_but_the_document_itself_is_shown_to_who_has_no_key(dialect: str, system):
    for operation in operations(dialect):
        path = operation.path.replace("{job_id}", NOBODYS).replace("{batch_id}", NOBODYS)
        for headers in ({}, {"Authorization": "Bearer sk_no_such_key_at_all"}):
            answer = requests.request(operation.method, system.url + path, headers=headers, timeout=60)

            assert answer.status_code == 401, operation.label

    served = requests.get(system.url + DOCUMENTS[dialect].PATH, timeout=60)
    assert served.status_code == 200
    assert {**served.json(), "info": None} == {**json.loads(json.dumps(document(dialect))), "info": None}
