"""The vocabulary: frozen values that every part speaks, and the protocols between parts. No I/O, no clock.

Times ending in ``_ns`` are nanoseconds of the system-wide monotonic clock, fields named ``at`` or ``since`` are wall
seconds since the epoch, durations are seconds. A figure that was not measured is ``None``, never 0.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NoReturn, Protocol, Self, final

from roadworthy import _known

SNAPSHOT_SCHEMA = 1
"""Version of the JSON form of :class:`Snapshot`; it grows only when a reader of the old form would break."""

Labels = tuple[tuple[str, str], ...]
"""Sorted label pairs."""


class Status(StrEnum):
    """How something is doing (CONFLICTS C-54)."""

    OK = "ok"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"
    RECOVERING = "recovering"


class Severity(StrEnum):
    """How bad a finding or alert is, mildest first (CONFLICTS C-53)."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Kind(StrEnum):
    """What a series measures."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(StrEnum):
    """How gauges of several processes become one figure."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    LAST = "last"
    PER_PROCESS = "per_process"


class EventKind(StrEnum):
    """What an event in the flight recorder tells."""

    LOG = "log"
    ERROR = "error"
    WARNING = "warning"
    OPERATION = "operation"
    STATE = "state"
    GC = "gc"
    LAG = "lag"
    USAGE = "usage"
    CHECK = "check"
    OUTPUT = "output"


class WorkerState(StrEnum):
    """Where a worker is in its life, as the supervisor sees it."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    HELD = "held"
    EXITED = "exited"
    LOST = "lost"


class Liveness(StrEnum):
    """What progress says about a living worker."""

    WORKING = "working"
    IDLE_OR_BUSY = "idle_or_busy"
    STOPPED = "stopped"
    LOOP_BLOCKED = "loop_blocked"
    SPINNING = "spinning"
    GIL_HELD = "gil_held"
    STALLED = "stalled"
    NOT_PROGRESSING = "not_progressing"
    UNKNOWN = "unknown"


@final
class Secret:
    """A value that shows itself as ``[redacted]`` wherever it is printed, formatted, logged or serialised.

    :meth:`reveal` returns it. From its making on, redaction takes the value itself out of every text, too. ``name``
    says in errors which secret it is. It is compared in constant time, is not pickled, and is copied as itself.
    """

    __slots__ = ("_name", "_value")

    def __init__(self, value: str, name: str = "") -> None:
        self._value = value
        self._name = name
        _known.add_made(value)

    @property
    def name(self) -> str:
        """Return what the secret is called, empty when nobody said."""
        return self._name

    def reveal(self) -> str:
        """Return the value."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self._name!r}, {_known.REDACTED})" if self._name else f"Secret({_known.REDACTED})"

    def __str__(self) -> str:
        return _known.REDACTED

    def __format__(self, spec: str) -> str:
        return format(_known.REDACTED, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        message = f"{self!r} is not pickled: its value would be readable; hand over where it is kept instead"
        raise TypeError(message)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> Any:  # noqa: ANN401 - pydantic's own type
        """Let pydantic take a string (or a Secret) and give out ``[redacted]``."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            cls._validated,
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def _validated(cls, given: object) -> Secret:
        if isinstance(given, Secret):
            return given
        if not isinstance(given, str):
            message = "a secret is a text"
            raise ValueError(message)  # noqa: TRY004 - what pydantic turns into its own error
        return cls(given)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts in log-linear buckets (arena/FORMAT.md): the index of a bucket to how many values fell in it.

    ``scale`` is how many stored units make one unit of the series (1e9 for seconds stored as nanoseconds).
    """

    buckets: Mapping[int, int]
    sum: float
    max: float
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Series:
    """One metric with one set of labels, merged over processes."""

    name: str
    kind: Kind
    labels: Labels = ()
    unit: str = ""
    help: str = ""
    value: float | None = None
    histogram: Histogram | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One record of the flight recorder."""

    kind: EventKind
    at: float
    level: str
    source: str
    text: str
    pid: int
    slot: int | None = None
    seq: int = 0
    fields: Mapping[str, str] = field(default_factory=dict)
    torn: bool = False


@dataclass(frozen=True, slots=True)
class InFlight:
    """An operation that has started and not ended."""

    name: str
    pid: int
    slot: int | None
    age: float
    context: str = ""
    parent: str = ""
    thread: int = 0


@dataclass(frozen=True, slots=True)
class Beat:
    """A declared signal of life: heartbeat, loop, progress, event loop or the runtime's own thread."""

    name: str
    kind: str
    pid: int
    slot: int | None
    count: int
    age: float | None
    every: float | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation's figures over the recent window and in total."""

    name: str
    count: int
    failures: int
    in_flight: int
    rate: float | None
    error_rate: float | None
    p50: float | None
    p75: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None
    mean: float | None
    memory_change: float | None = None


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Errors with one fingerprint."""

    fingerprint: str
    type: str
    message: str
    operation: str
    count: int
    first: float
    last: float
    handled: bool
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a health check last said; ``at`` is None until it has run once."""

    name: str
    kind: str
    status: Status
    detail: str
    at: float | None
    duration: float | None
    every: float
    timeout: float
    failures_in_row: int = 0
    outage: bool = False
    source: str = "builtin"
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """Resource use of a set of processes; CPU in per cent of one core, I/O per second."""

    cpu_percent: float | None = None
    rss: int | None = None
    memory_limit: int | None = None
    memory_percent: float | None = None
    threads: int | None = None
    fds: int | None = None
    fd_limit: int | None = None
    processes: int | None = None
    read_bytes: float | None = None
    write_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class System:
    """The host, or the container where its limits are smaller."""

    cpu_percent: float | None = None
    cpus: float | None = None
    load1: float | None = None
    memory_total: int | None = None
    memory_used: int | None = None
    memory_percent: float | None = None
    disk_total: int | None = None
    disk_used: int | None = None
    disk_percent: float | None = None
    disk_path: str = ""
    disk_read: float | None = None
    disk_write: float | None = None
    net_received: float | None = None
    net_sent: float | None = None
    processes: int | None = None
    limited_by: str = ""


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended: an exit code or a signal; neither where nobody could collect it."""

    code: int | None = None
    signal: int | None = None
    core: bool = False
    words: str = ""
    oom: bool = False


@dataclass(frozen=True, slots=True)
class Worker:
    """One slot of the program and the process that fills it now."""

    slot: int
    generation: int
    pid: int | None
    state: WorkerState
    since: float
    started: float | None
    liveness: Liveness
    reason: str
    resources: Resources
    restarts: int
    injected: bool | None
    inject_reason: str = ""
    last_exit: ExitStatus | None = None
    next_start: float | None = None
    python: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a verdict rests on, with its evidence."""

    subject: str
    status: Status
    reason: str
    severity: Severity = Severity.WARNING
    since: float | None = None
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one answer: how is the program, why, and since when."""

    status: Status
    reason: str
    since: float
    findings: tuple[Finding, ...] = ()
    live: bool = True
    ready: bool = False
    started: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """A kind of signal and when it was last really received; ``declared`` ones that never came are shown as such."""

    kind: str
    name: str
    declared: bool
    count: int
    last: float | None
    every: float | None = None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class IncidentSummary:
    """A line of the incident list; the bundle itself is a file in the state directory."""

    id: str
    at: float
    kind: str
    title: str
    slot: int | None = None
    pid: int | None = None
    exit: ExitStatus | None = None
    detected_after: float | None = None
    recovered_after: float | None = None


@dataclass(frozen=True, slots=True)
class StartupStep:
    """One checkpoint of a start: seconds since the process began and since the step before."""

    label: str
    at: float
    took: float


@dataclass(frozen=True, slots=True)
class Startup:
    """One start of one process, by its checkpoints; ``total`` is None until it is ready."""

    pid: int
    slot: int | None
    at: float
    total: float | None
    steps: tuple[StartupStep, ...]


@dataclass(frozen=True, slots=True)
class Overhead:
    """What roadworthy itself uses."""

    agent_cpu_percent: float | None = None
    agent_rss: int | None = None
    keeper_cpu_percent: float | None = None
    keeper_rss: int | None = None
    arena_bytes: int | None = None
    state_bytes: int | None = None
    series: int = 0
    tick_seconds: float | None = None
    events_missed: int = 0
    series_overflowed: int = 0
    internal_errors: int = 0


class BreakerState(StrEnum):
    """How a circuit breaker stands; the first six in the order of their codes in ``resilience.breaker.state``."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"
    METRICS_ONLY = "metrics_only"
    UNKNOWN = "unknown"


class ServiceCondition(StrEnum):
    """How a service that the program depends on is doing, as its error recovery sees it."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """What the calls of one policy came to and how its breaker stands, over all processes.

    ``calls`` counts outcomes; ``rate`` (calls a second) and ``failure_rate`` (0 to 1, of the calls that reached the
    other side) are of the last minute; ``breaker`` is None where there is none; ``retry_at`` is when an open breaker
    lets a call try again; ``forced`` is what people have set, until ``forced_until`` (None: until it is undone).
    """

    name: str
    breaker: BreakerState | None = None
    since: float | None = None
    reason: str = ""
    retry_at: float | None = None
    calls: Mapping[str, int] = field(default_factory=dict)
    rate: float | None = None
    failure_rate: float | None = None
    retries: int | None = None
    retries_denied: int | None = None
    fallbacks: int | None = None
    hedges: int | None = None
    budget_left: float | None = None
    budget_most: float | None = None
    forced: BreakerState | None = None
    forced_reason: str = ""
    forced_until: float | None = None
    scope: str = ""
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceSummary:
    """A service that the program has registered for error recovery.

    ``recover`` and ``restart`` tell what can be asked for; ``recoveries`` counts attempts since counting began, and
    ``recovered`` those that succeeded. ``by`` is who holds it degraded: ``"people"``, a part of the program, or nobody.
    """

    name: str
    state: ServiceCondition = ServiceCondition.UNKNOWN
    breaker: BreakerState | None = None
    reason: str = ""
    since: float | None = None
    until: float | None = None
    by: str = ""
    last_error: str = ""
    last_error_at: float | None = None
    recover: bool = False
    restart: bool = False
    recoveries: int = 0
    recovered: int = 0


@dataclass(frozen=True, slots=True)
class FeatureSummary:
    """A feature of the program that can be switched off; ``by`` is who did: ``"people"``, a part of the program."""

    name: str
    off: bool | None = None
    reason: str = ""
    since: float | None = None
    until: float | None = None
    by: str = ""


INNER: Final = {"inner": True}
"""Metadata of a field that is for views of this process and in no document."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything known about one application at one instant; made once a second, never changed."""

    app: str
    at: float
    tick: int
    mono_ns: int
    started: float
    verdict: Verdict
    workers: tuple[Worker, ...] = ()
    resources: Resources = Resources()
    system: System = System()
    series: tuple[Series, ...] = ()
    operations: tuple[Operation, ...] = ()
    in_flight: tuple[InFlight, ...] = ()
    beats: tuple[Beat, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    errors: tuple[ErrorGroup, ...] = ()
    incidents: tuple[IncidentSummary, ...] = ()
    signals: tuple[Signal, ...] = ()
    startups: tuple[Startup, ...] = ()
    policies: tuple[PolicySummary, ...] = ()
    services: tuple[ServiceSummary, ...] = ()
    features: tuple[FeatureSummary, ...] = ()
    events: tuple[Event, ...] = ()
    gauges: Mapping[str, float | None] = field(default_factory=dict)
    overhead: Overhead = Overhead()
    command: tuple[str, ...] = ()
    keeper_pid: int | None = None
    agent_pid: int | None = None
    layout: int | None = field(default=None, compare=False, metadata=INNER)
    """The same number in two snapshots of one source: their ``series`` are the same ones in the same order."""
    schema: int = SNAPSHOT_SCHEMA


class StateWord(Protocol):
    """Three whole numbers under one name that several callers, threads or processes share."""

    def read(self) -> tuple[int, int, int, int]:
        """Return the three values and the monotonic ns of their last update (0: never); never waits."""

    def update(
        self, fn: Callable[[int, int, int], tuple[int, int, int]], patience: float = 0.05
    ) -> tuple[int, int, int] | None:
        """Replace the values by ``fn`` of them, one caller at a time; None, and no change, when that took too long."""


class StateStore(Protocol):
    """Where breakers, limits and switches keep what they share: in the process, or on the host (arena.shared)."""

    def word(self, name: str) -> StateWord:
        """Return the word of that name, made now if need be; raises :class:`~roadworthy.errors.Exhausted`."""


class History(Protocol):
    """Where figures over time are kept (SQLite in the state directory; PostgreSQL by URL)."""

    def append(self, at: float, values: Mapping[str, float]) -> None:
        """Keep one tick's figures: series name to value."""

    def query(
        self, names: Sequence[str], start: float, end: float, points: int
    ) -> Mapping[str, Sequence[tuple[float, float | None]]]:
        """Return at most ``points`` (time, value) pairs per name; a gap is a None value."""

    def add_incident(self, summary: IncidentSummary, bundle: Mapping[str, object]) -> None:
        """Keep an incident with its last words."""

    def incidents(self, limit: int = 50) -> Sequence[IncidentSummary]:
        """Return the newest incidents first."""

    def incident(self, incident_id: str) -> Mapping[str, object] | None:
        """Return one incident's bundle, or None."""

    def keep_for(self, hours: float) -> None:
        """Keep figures for so long from now on."""

    def close(self) -> None:
        """Flush and release."""


class Exporter(Protocol):
    """Something that is handed every snapshot, in the agent."""

    def export(self, snapshot: Snapshot) -> None:
        """Send one snapshot on; raises when it could not."""


class SnapshotSource(Protocol):
    """What views read from: the newest snapshot and a way to be told of the next."""

    def latest(self) -> Snapshot | None:
        """Return the newest snapshot, or None before the first tick."""

    def subscribe(self, callback: Callable[[Snapshot], None]) -> Callable[[], None]:
        """Call ``callback`` with every new snapshot; returns what ends the subscription."""

    def recent_events(self, after: int, limit: int) -> Iterable[tuple[int, Event]]:
        """Return kept events with a running id greater than ``after``, oldest first."""
