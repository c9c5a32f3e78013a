"""Logs, traces and metrics, set up once per process.

The OpenTelemetry SDK is imported only when an OTLP endpoint is set: a home server pays neither its memory nor its
start-up time. Without it a trace that came in from outside is still passed on, because the API's spans keep their
parent's context.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_propagator = TraceContextTextMapPropagator()


def setup(process: str, *, otlp_endpoint: str | None = None, level: str = "info") -> Callable[[], None]:
    """Configure this process; the returned function flushes what is still buffered and must be called at the end.

    Logs are one JSON object per line on stderr, or coloured text when stderr is a terminal. Values are data, never part
    of the line's structure, so nothing from outside can forge an entry.
    """
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_trace,
            structlog.processors.dict_tracebacks if not terminal else structlog.processors.StackInfoRenderer(),
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    return _export(process, otlp_endpoint) if otlp_endpoint else _nothing


def _nothing() -> None:
    pass


def _export(process: str, endpoint: str) -> Callable[[], None]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - see module docstring
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({"service.name": f"longshore-{process}"}))
    exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=5)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _add_trace(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
    return event


def traceparent() -> str:
    """W3C trace context of the current span, empty when there is none."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent", "")


def _context(parent: str) -> Context:
    return _propagator.extract({"traceparent": parent}, context=Context())


@contextmanager
def span(
    name: str, *, parent: str = "", link: str = "", kind: SpanKind = SpanKind.INTERNAL, **attributes: str | int
) -> Iterator[None]:
    """`parent` for request and reply. `link` for something that happens later because of an event: a download that
    ends in the night must not stretch the request that asked for it, yet it stays in the same trace when there is no
    exporter to draw the link."""
    links: list[Link] = []
    context = _context(parent) if parent else None
    if link:
        origin = trace.get_current_span(_context(link)).get_span_context()
        links = [Link(origin)] if origin.is_valid else []
        context = _context(link)
    tracer = trace.get_tracer("longshore")
    with tracer.start_as_current_span(name, context=context, kind=kind, links=links, attributes=dict(attributes)):
        yield
