"""One trace from the client's request to the last report of the worker."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from uuid import uuid4

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from libs.bus import Stream, follow
from tests.support.receiver import Post, receiving
from tests.support.system import running

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def spans(posts: list[Post]) -> dict[str, set[str]]:
    """Names of the spans that belong to the trace, by the process that reported them."""
    found: dict[str, set[str]] = {}
    for post in posts:
        body = gzip.decompress(post.body) if post.headers.get("Content-Encoding") == "gzip" else post.body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            process = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            names = {one.name for scope in resource.scope_spans for one in scope.spans if one.trace_id.hex() == TRACE}
            found.setdefault(process, set()).update(names)
    return found


async def headers_of_events(system, job_id: str) -> dict[str, str]:
    """Traceparent by event type."""
    async with system.operator() as (bus, _):
        end = await Stream(bus, "EV_JOB").last_sequence()
        found: dict[str, str] = {}
        async with asyncio.timeout(30), follow(bus, "EV_JOB") as batches:
            async for batch in batches:
                found |= {one.event_type: one.headers["traceparent"] for one in batch if str(one.stream_id) == job_id}
                if batch[-1].sequence >= end:
                    break
        return found


async def test_a_clients_trace_goes_through_every_process_that_works_for_it_and_into_every_event(data: Path, site):
    async with receiving() as collector:
        with running(data, site.egress_allow + ",127.0.0.0/8", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as system:
            user = await asyncio.to_thread(system.user)
            async with user.http() as http:
                link = site.file(1000, f"{uuid4().hex}.bin")
                _, answer = await http.jobs("POST", "/jobs", {"url": link}, traceparent=TRACEPARENT)
                await http.ended(answer["job_id"])
                _, forged = await http.jobs("POST", "/jobs", {"url": link}, traceparent=f"00-{'0' * 32}-x-01")
                await http.ended(forged["job_id"])
            traced = await headers_of_events(system, answer["job_id"])
            untraced = await headers_of_events(system, forged["job_id"])
            assert await asyncio.to_thread(system.stop) == 0
        found = spans(collector.posts)

    assert {"http.request", "job.submit", "job.admit", "job.claim", "storage.store", "job.report_completed"} <= found[
        "longshore-up"
    ]
    assert "job.attempt" in found["longshore-worker"]
    assert {"job.submitted", "job.admitted", "job.started", "job.completed"} <= traced.keys()
    assert {one.split("-")[1] for one in traced.values()} == {TRACE}
    assert all(TRACE not in one and "x" not in one for one in untraced.values())
