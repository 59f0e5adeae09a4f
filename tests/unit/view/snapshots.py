"""Snapshots for the tests of views: a quiet program, and one in trouble that has everything a view must show."""

from roadworthy.types import (
    Beat,
    BreakerState,
    CheckResult,
    ErrorGroup,
    Event,
    EventKind,
    ExitStatus,
    FeatureSummary,
    Finding,
    Histogram,
    IncidentSummary,
    InFlight,
    Kind,
    Liveness,
    Merge,
    Operation,
    Overhead,
    PolicySummary,
    Resources,
    Series,
    ServiceCondition,
    ServiceSummary,
    Severity,
    Signal,
    Snapshot,
    Startup,
    StartupStep,
    Status,
    System,
    Verdict,
    Worker,
    WorkerState,
)

NOW = 1_795_000_000.25
MONO = 5_000_000_000_000
MIB = 1024 * 1024


def worker(slot=0, **changes):
    fields = {
        "slot": slot,
        "generation": 1,
        "pid": 4200 + slot,
        "state": WorkerState.READY,
        "since": NOW - 3600,
        "started": NOW - 3601.5,
        "liveness": Liveness.WORKING,
        "reason": "answers requests",
        "resources": Resources(cpu_percent=12.5, rss=80 * MIB, threads=9, fds=31, fd_limit=1024, processes=1),
        "restarts": 0,
        "injected": True,
        "python": "3.11.9",
        "command": "python app.py",
    }
    return Worker(**{**fields, **changes})


def operation(name, **changes):
    fields = {
        "name": name,
        "count": 1000,
        "failures": 0,
        "in_flight": 0,
        "rate": 25.0,
        "error_rate": 0.0,
        "p50": 0.004,
        "p75": 0.006,
        "p90": 0.011,
        "p95": 0.02,
        "p99": 0.065,
        "max": 0.4,
        "mean": 0.0061,
    }
    return Operation(**{**fields, **changes})


def quiet(**changes):
    """Return a snapshot of a program that is well and says little."""
    fields = {
        "app": "shop",
        "at": NOW,
        "tick": 17,
        "mono_ns": MONO,
        "started": NOW - 3600,
        "verdict": Verdict(Status.OK, "2 of 2 workers are ready", NOW - 3590, live=True, ready=True, started=True),
        "workers": (worker(0), worker(1)),
        "resources": Resources(
            cpu_percent=25.0, rss=160 * MIB, memory_limit=512 * MIB, memory_percent=31.25, threads=18, fds=62
        ),
        "system": System(
            cpu_percent=40.0, cpus=2.0, memory_total=2048 * MIB, memory_used=1024 * MIB, memory_percent=50.0
        ),
        "command": ("python", "app.py"),
        "keeper_pid": 4100,
        "agent_pid": 4101,
    }
    return Snapshot(**{**fields, **changes})


def series():
    """Return series of every kind: with labels that need escaping, without a value, and a histogram in nanoseconds."""
    durations = Histogram({140: 10, 141: 5, 170: 2, 190: 1}, sum=4.1e9, max=3.9e9, scale=1e9)
    return (
        Series(
            "http.server.request.duration",
            Kind.HISTOGRAM,
            (("http.route", "/items/{id}"),),
            "s",
            "Duration.",
            histogram=durations,
        ),
        Series(
            "http.server.request.duration",
            Kind.HISTOGRAM,
            (("http.route", "/"),),
            "s",
            "Duration.",
            histogram=durations,
        ),
        Series("payload.size", Kind.HISTOGRAM, (), "By", "", histogram=Histogram({0: 1, 7: 2, 40: 3}, 700.0, 350.0)),
        Series("orders", Kind.COUNTER, (("country", "de"),), "{order}", "Orders taken.", 41.0),
        Series("errors", Kind.COUNTER, (("operation", 'say "hi"\\\n'), ("type", "ValueError")), "", "", 3.0),
        Series("queue.depth", Kind.GAUGE, (), "", "Jobs that wait.", 7.5),
        Series("never.measured", Kind.GAUGE, (), "s", "", None),
        Series("orders", Kind.COUNTER, (("country", "fr"),), "{order}", "Orders taken.", 2.0),
    )


def troubled(**changes):
    """Return a snapshot of a program in trouble: a worker held, errors, an outage, an incident, unknown figures."""
    fields = {
        "verdict": Verdict(
            Status.UNHEALTHY,
            "worker 1 dies again and again",
            NOW - 42,
            (
                Finding("worker 1", Status.UNHEALTHY, "5 deaths in 60 s", Severity.CRITICAL, NOW - 42, "signal SEGV"),
                Finding("check database", Status.UNHEALTHY, "3 failures in a row", Severity.ERROR, NOW - 30),
            ),
            live=True,
            ready=False,
            started=True,
        ),
        "workers": (
            worker(0, liveness=Liveness.IDLE_OR_BUSY, reason="no declared signal"),
            worker(
                1,
                pid=None,
                generation=6,
                state=WorkerState.HELD,
                since=NOW - 42,
                started=None,
                liveness=Liveness.UNKNOWN,
                reason="crash loop: next try in 18 s",
                resources=Resources(),
                restarts=5,
                injected=None,
                last_exit=ExitStatus(signal=11, core=True, words="killed by SIGSEGV (invalid memory reference)"),
                next_start=NOW + 18,
            ),
        ),
        "series": series(),
        "operations": (
            operation("checkout", failures=120, error_rate=0.12, in_flight=3, p95=1.2, p99=2.5, max=9.75),
            operation("browse"),
            operation(
                "nightly",
                count=0,
                rate=None,
                error_rate=None,
                p50=None,
                p75=None,
                p90=None,
                p95=None,
                p99=None,
                max=None,
                mean=None,
            ),
        ),
        "in_flight": (InFlight("checkout", 4200, 0, 12.5, "cart=17", "", 1),),
        "beats": (
            Beat("event loop", "event_loop", 4200, 0, 900, 0.4, 1.0),
            Beat("mailer", "heartbeat", 4200, 0, 0, None, 5.0),
        ),
        "checks": (
            CheckResult(
                "database",
                "readiness",
                Status.UNHEALTHY,
                "connection refused",
                NOW - 3,
                0.012,
                10.0,
                2.0,
                3,
                outage=True,
                source="app",
                slot=0,
            ),
            CheckResult("disk", "readiness", Status.OK, "61 % used", NOW - 20, 0.001, 60.0, 5.0),
            CheckResult("mail", "readiness", Status.UNKNOWN, "has not run yet", None, None, 60.0, 5.0),
        ),
        "errors": (
            ErrorGroup(
                "a1b2c3",
                "ValueError",
                "no such country: xx",
                "checkout",
                120,
                NOW - 900,
                NOW - 2,
                handled=True,
                traceback="Traceback …\nValueError",
            ),
        ),
        "incidents": (
            IncidentSummary(
                "20261118-043322-1",
                NOW - 42,
                "death",
                "worker 1 was killed by SIGSEGV",
                1,
                4207,
                ExitStatus(signal=11, words="SIGSEGV"),
                0.21,
                None,
            ),
        ),
        "signals": (
            Signal("operation", "checkout", declared=True, count=1000, last=NOW - 1),
            Signal("heartbeat", "mailer", declared=True, count=0, last=None, every=5.0, stale=True),
        ),
        "startups": (
            Startup(4200, 0, NOW - 3601.5, 1.5, (StartupStep("imports", 0.9, 0.9), StartupStep("ready", 1.5, 0.6))),
        ),
        "events": (Event(EventKind.LOG, NOW - 1, "error", "shop.cart", "payment failed", 4200, 0, 77, {"cart": "17"}),),
        "gauges": {"cpu.percent": 25.0, "loop.lag": None},
        "overhead": Overhead(0.6, 41 * MIB, 0.0, 11 * MIB, 2 * MIB, 4 * MIB, 8, 0.004, 0, 0, 0),
        **changes,
    }
    return quiet(**fields)


def gauge(name, value, merge=Merge.LAST, **labels):
    assert merge in Merge
    return Series(name, Kind.GAUGE, tuple(sorted(labels.items())), value=value)


def guarded(**changes):
    """A program with policies, services and features, some of them in trouble."""
    policies = (
        PolicySummary("cache", None, calls={"success": 900}, rate=15.0, failure_rate=0.0),
        PolicySummary(
            "db", BreakerState.FORCED_OPEN, NOW - 30, "", None, {"success": 4000, "breaker_open": 90}, 3.0, None, 12, 1,
            0, 0, 9.4, 10.0, BreakerState.FORCED_OPEN, "maintenance", NOW + 270, "host", ("retry", "breaker"),
        ),
        PolicySummary(
            "upstream", BreakerState.OPEN, NOW - 4, "8 of 10 calls failed", NOW + 8,
            {"success": 50, "failure": 61, "breaker_open": 300}, 12.5, 0.55, 40, 22, budget_left=0.2, budget_most=3.0,
        ),
    )  # fmt: skip
    services = (
        ServiceSummary("database", ServiceCondition.UP, BreakerState.FORCED_OPEN, recover=True, restart=True),
        ServiceSummary(
            "upstream", ServiceCondition.DOWN, BreakerState.OPEN, "connection refused", NOW - 90,
            last_error="ConnectionRefusedError", recover=True, recoveries=3, recovered=2,
        ),
        ServiceSummary("reports", ServiceCondition.DEGRADED, None, "high_load", NOW - 60, NOW + 240, "people"),
    )  # fmt: skip
    features = (
        FeatureSummary("export", off=True, reason="import of pandas failed", since=NOW - 600, by="recovery"),
        FeatureSummary("thumbnails", off=False),
        FeatureSummary("search"),
    )
    return quiet(**{"policies": policies, "services": services, "features": features, **changes})
