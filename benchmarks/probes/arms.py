"""The calls that are compared, ours and the peers', each as a user writes it: a statement and the names it uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

SPANS = 100
"""Sentry keeps the spans of a transaction and drops those beyond a thousand: a new transaction after so many."""


class Arm(NamedTuple):
    """A statement, the names that it uses, and how often it does the thing that is measured."""

    statement: str
    names: dict[str, Any]
    times: int = 1


def empty() -> None:
    """Do nothing: the user's function."""


def _bare_call() -> Arm:
    return Arm("f()", {"f": empty})


def _bare_nothing() -> Arm:
    return Arm("pass", {})


def _our_timed() -> Arm:
    import roadworthy as rw

    return Arm("f()", {"f": rw.timed("benchmark.duration")(empty)})


def _our_operation() -> Arm:
    import roadworthy as rw

    return Arm("with operation('benchmark'): pass", {"operation": rw.operation})


def _our_operation_with_context() -> Arm:
    import roadworthy as rw

    return Arm("with operation('benchmark', rom='game.sfc', page=7): pass", {"operation": rw.operation})


def _our_counter() -> Arm:
    import roadworthy as rw

    return Arm("c.add()", {"c": rw.counter("benchmark.calls", labels=("kind",)).labels(kind="bound")})


def _our_event() -> Arm:
    import roadworthy as rw

    return Arm("event('the door was opened', source='benchmark')", {"event": rw.event})


def _our_ring() -> Arm:
    import roadworthy as rw
    from roadworthy.app import start

    rw.start("benchmark")
    arena = start.current()
    if arena is None:
        raise SystemExit(f"roadworthy does not run here: {start.reason()}")
    return Arm("put(5, 20, payload)", {"put": arena.ring.put, "payload": b"benchmark\x1fthe door was opened"})


def _prometheus(statement: str) -> Arm:
    from prometheus_client import Counter, Histogram

    histogram = Histogram("benchmark_duration_seconds", "what the benchmark does")
    counter = Counter("benchmark_calls", "what the benchmark counts", ["kind"]).labels("bound")
    return Arm(statement, {"histogram": histogram, "counter": counter, "f": histogram.time()(empty)})


class _Nowhere:
    """An exporter and a transport that take everything and send nothing: the network is not what is measured."""

    def export(self, *_: object, **__: object) -> Any:  # noqa: ANN401 - OpenTelemetry's result type
        from opentelemetry.sdk.trace.export import SpanExportResult

        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Release nothing."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        """Flush nothing, at once."""
        return timeout_millis >= 0


def _opentelemetry() -> Arm:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    traces = TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(_Nowhere()))
    histogram = MeterProvider([InMemoryMetricReader()]).get_meter("benchmark").create_histogram("duration", unit="s")
    statement = "began = clock()\nwith span('benchmark'): pass\nrecord(clock() - began, labels)"
    from time import perf_counter

    names = {
        "span": traces.get_tracer("benchmark").start_as_current_span,
        "record": histogram.record,
        "labels": {"operation": "benchmark"},
        "clock": perf_counter,
    }
    return Arm(statement, names)


def _start_sentry() -> Any:  # noqa: ANN401 - the module, which is not typed here
    import sentry_sdk
    from sentry_sdk.transport import Transport

    class Dropped(Transport):  # type: ignore[misc,unused-ignore]  # of class Any where it is not installed
        def capture_envelope(self, envelope: object) -> None:
            pass

    sentry_sdk.init(dsn="http://key@localhost/1", transport=Dropped, traces_sample_rate=1.0)
    return sentry_sdk


def _sentry_span() -> Arm:
    sentry = _start_sentry()
    statement = f"with transaction(name='t'):\n  for _ in range({SPANS}):\n    with span(name='benchmark'): pass"
    return Arm(statement, {"transaction": sentry.start_transaction, "span": sentry.start_span}, SPANS)


def _sentry_breadcrumb() -> Arm:
    sentry = _start_sentry()
    statement = "event(message='the door was opened', category='benchmark', level='info')"
    return Arm(statement, {"event": sentry.add_breadcrumb})


def _start_logfire() -> Any:  # noqa: ANN401 - as above
    import logfire
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    processor = BatchSpanProcessor(_Nowhere())
    logfire.configure(
        send_to_logfire=False, console=False, inspect_arguments=False, additional_span_processors=[processor]
    )
    return logfire


def _logfire_span() -> Arm:
    return Arm("with span('benchmark'): pass", {"span": _start_logfire().span})


def _logfire_timed() -> Arm:
    return Arm("f()", {"f": _start_logfire().instrument("benchmark")(empty)})


ARMS: dict[str, dict[str, Callable[[], Arm]]] = {
    "timed": {
        "bare": _bare_call,
        "roadworthy": _our_timed,
        "prometheus-client": lambda: _prometheus("f()"),
        "logfire": _logfire_timed,
    },
    "operation": {
        "bare": _bare_nothing,
        "roadworthy": _our_operation,
        "roadworthy, with context": _our_operation_with_context,
        "prometheus-client": lambda: _prometheus("with histogram.time(): pass"),
        "opentelemetry-sdk": _opentelemetry,
        "sentry-sdk": _sentry_span,
        "logfire": _logfire_span,
    },
    "counter": {
        "bare": _bare_nothing,
        "roadworthy": _our_counter,
        "prometheus-client": lambda: _prometheus("counter.inc()"),
    },
    "event": {
        "bare": _bare_nothing,
        "roadworthy": _our_event,
        "roadworthy, the ring alone": _our_ring,
        "sentry-sdk": _sentry_breadcrumb,
    },
}
"""For each row, who does it and how; "bare" is what the others are compared over."""


def prepare(case: str, who: Sequence[str]) -> dict[str, Arm]:
    """Return the arms asked for, with "bare" first; raises KeyError for an unknown one."""
    return {name: ARMS[case][name]() for name in dict.fromkeys(("bare", *who))}
