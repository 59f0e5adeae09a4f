"""Plain resolved settings: what the command line worked out, handed to keeper, agent and app as values.

Nothing here reads a file or a variable; ``cli`` does and records where each value came from.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

RUN_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a worker that ended is started again; times in seconds."""

    mode: str = "on-failure"
    backoff_first: float = 0.1
    backoff_most: float = 30.0
    backoff_factor: float = 2.0
    jitter: float = 0.2
    healthy_after: float = 5.0
    crash_loop_deaths: int = 5
    crash_loop_window: float = 60.0
    held_retry: float = 60.0


@dataclass(frozen=True, slots=True)
class HangPolicy:
    """When a worker counts as hung and what is done; times in seconds, ``action`` is alarm or restart."""

    after: float = 10.0
    progress_after: float = 60.0
    action: str = "auto"
    request_after: float = 0.0


@dataclass(frozen=True, slots=True)
class CheckSetting:
    """A built-in check asked for by URL or path."""

    name: str
    target: str
    kind: str = "readiness"
    every: float = 60.0
    timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When the program's own use is a warning, and when critical: percent of the CPU it has, MB of a worker (CFG-24).

    ``on`` is False where nobody wants them judged.
    """

    cpu_warning: float = 50.0
    cpu_critical: float = 80.0
    memory_warning: float = 500.0
    memory_critical: float = 1000.0
    on: bool = True


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Everything ``roadworthy run`` was told, resolved; written to ``run.json`` in the run directory."""

    app: str
    command: tuple[str, ...]
    cwd: str
    environment: str = "development"
    workers: int = 1
    port: int | None = None
    bind: str = "127.0.0.1"
    ops_port: int = 9900
    ops_port_given: bool = False
    ops_host: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    probe_bind: str = ""
    inject: bool = True
    dev: bool = False
    watch_paths: tuple[str, ...] = ()
    log_level: str = ""
    stop_signal: int = 15
    stop_grace: float = 10.0
    ready_timeout: float = 40.0
    health_url: str = ""
    health_check: bool = False
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    hang: HangPolicy = field(default_factory=HangPolicy)
    thresholds: Thresholds = field(default_factory=Thresholds)
    checks: tuple[CheckSetting, ...] = ()
    check_every: float = 60.0
    checks_on: bool = True
    data_dirs: tuple[str, ...] = ()
    sample_performance: float = 1.0
    sample_errors: float = 1.0
    report_every: float = 86400.0
    retention_hours: float = 168.0
    history_url: str = ""
    arena_dir: str = ""
    run_dir: str = ""
    state_dir: str = ""
    pid_file: str = ""
    daemon: bool = False
    notify_socket: str = ""
    watchdog_usec: int = 0
    agent_argv: tuple[str, ...] = ()
    schema: int = RUN_SCHEMA

    def to_json(self) -> str:
        """Return the settings as JSON that :meth:`from_json` reads back to an equal value."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> RunSettings:
        """Read back what :meth:`to_json` wrote; raises ``ValueError`` or ``TypeError`` when it is something else."""
        raw: Any = json.loads(text)
        if not isinstance(raw, dict):
            message = "run settings are a JSON object"
            raise TypeError(message)
        if raw.get("schema") != RUN_SCHEMA:
            message = f"run settings have schema {raw.get('schema')!r}, this version reads {RUN_SCHEMA}"
            raise ValueError(message)
        raw["restart"] = RestartPolicy(**raw["restart"])
        raw["hang"] = HangPolicy(**raw["hang"])
        raw["thresholds"] = Thresholds(**raw["thresholds"])
        raw["checks"] = tuple(CheckSetting(**check) for check in raw["checks"])
        for name in ("command", "allowed_hosts", "watch_paths", "agent_argv", "data_dirs"):
            raw[name] = tuple(raw[name])
        return cls(**raw)
