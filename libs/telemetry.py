"""Logs, traces and metrics, set up once per process.

OpenTelemetry is imported only when an OTLP endpoint is set: a home server pays neither its memory nor its time, which
was a tenth of an accepted job. Without it a trace that came in from outside is still passed on, unchanged.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import structlog
from structlog.tracebacks import ExceptionDictTransformer

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_passed_on: ContextVar[str] = ContextVar("traceparent", default="")
_tracer: Tracer | None = None
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""Version, trace, parent, flags (W3C Trace Context, 3.2)."""

# What a failed function had in its hands may be a password or a cookie; a log says only where it failed.
_TRACEBACKS = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
_PLAINLY = structlog.dev.RichTracebackFormatter(show_locals=False)


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
            structlog.processors.StackInfoRenderer() if terminal else _TRACEBACKS,
            structlog.dev.ConsoleRenderer(exception_formatter=_PLAINLY)
            if terminal
            else structlog.processors.JSONRenderer(),
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
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - see above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - see above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - see above

    global _tracer  # noqa: PLW0603 - one a process, as OpenTelemetry itself has it
    provider = TracerProvider(resource=Resource.create({"service.name": f"longshore-{process}"}))
    exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=5)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("longshore")
    return provider.shutdown


def _add_trace(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if current := traceparent():
        event["trace_id"] = current.split("-")[1]
    return event


def checked(came: bytes) -> str:
    """A traceparent header from outside; empty when it is not one, as the standard asks."""
    return came.decode() if _TRACEPARENT.fullmatch(came) else ""


def traceparent() -> str:
    """W3C trace context of the current span, empty when there is none."""
    return _passed_on.get()


@contextmanager
def span(
    name: str, *, parent: str = "", link: str = "", server: bool = False, **attributes: str | int
) -> Iterator[None]:
    """`parent` for request and reply. `link` for something that happens later because of an event: a download that
    ends in the night must not stretch the request that asked for it, yet it stays in the same trace."""
    if _tracer is not None:
        with _exported(_tracer, name, parent, link, server, attributes):
            yield
        return
    token = _passed_on.set(parent or link or _passed_on.get())
    try:
        yield
    finally:
        _passed_on.reset(token)


@contextmanager
def _exported(
    tracer: Tracer, name: str, parent: str, link: str, server: bool, attributes: dict[str, str | int]
) -> Iterator[None]:
    from opentelemetry import trace  # noqa: PLC0415 - see module docstring
    from opentelemetry.context import Context  # noqa: PLC0415 - see above
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - see above

    propagator = TraceContextTextMapPropagator()
    came = parent or link
    context = propagator.extract({"traceparent": came}, context=Context()) if came else None
    origin = trace.get_current_span(context).get_span_context() if link else None
    links = [trace.Link(origin)] if origin is not None and origin.is_valid else []
    kind = trace.SpanKind.SERVER if server else trace.SpanKind.INTERNAL
    with tracer.start_as_current_span(name, context=context, kind=kind, links=links, attributes=attributes):
        carrier: dict[str, str] = {}
        propagator.inject(carrier)
        token = _passed_on.set(carrier.get("traceparent", ""))
        try:
            yield
        finally:
            _passed_on.reset(token)
