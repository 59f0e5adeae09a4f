"""``roadworthy detect``: where this runs, by what evidence, within which limits, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import click

from roadworthy.config.detect.decide import Detection, force
from roadworthy.config.detect.decide import detect as look
from roadworthy.config.detect.limits import WORKER_MEMORY, Bounds, bounds, suggested_workers
from roadworthy.config.detect.profiles import named
from roadworthy.config.detect.reader import Reader
from roadworthy.log.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from roadworthy.config.detect.words import Fact

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
_WIDTH: Final = 27


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--short", is_flag=True, help="Only two lines: Environment and Platform.")
@click.option(
    "--environment", metavar="WORD", help="Overrule what is detected: a type (cloud) or a stage (production)."
)
@click.option(
    "--worker-memory",
    type=click.IntRange(1),
    default=WORKER_MEMORY // _MIB,
    show_default=True,
    metavar="MIB",
    help="What one worker needs, for the number of workers that is suggested.",
)
def detect(*, as_json: bool, short: bool, environment: str | None, worker_memory: int) -> None:
    """Tell where this runs: environment type, platform and stage, with the evidence for each.

    Also everything else that fits, what looks like evidence and is none, the limits of CPUs and memory that bind a
    process here, how many workers fit into them, and the settings that the environment brings along.
    """
    reader = Reader()
    found = look(reader)
    if environment is not None:
        found = force(found, environment)
    limits = bounds(reader)
    workers = suggested_workers(limits, memory_each=worker_memory * _MIB)
    if as_json:
        click.echo(json.dumps(document(found, limits, workers), ensure_ascii=False, indent=1))
        return
    for line in head(found) if short else report(found, limits, workers):
        click.echo(line)


def document(found: Detection, limits: Bounds, workers: tuple[int, str]) -> dict[str, Any]:
    """Return everything as one JSON object."""
    label, values = named(found)
    return {
        "environment": found.type.value,
        "platform": found.platform.value,
        "stage": found.stage.value,
        "cloud": found.cloud,
        **{key: value for key, value in _plain(asdict(found)).items() if key not in {"platform", "type", "stage"}},
        "limits": asdict(limits),
        "workers": {"suggested": workers[0], "why": workers[1]},
        "profile": {"name": label, "values": dict(values)},
    }


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of a dataclass
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def head(found: Detection) -> Iterator[str]:
    """Yield the two lines that answer the question."""
    yield f"Environment: {found.type.value}"
    yield f"Platform: {found.platform.value}"


def report(found: Detection, limits: Bounds, workers: tuple[int, str]) -> Iterator[str]:
    """Yield everything for people."""
    yield from head(found)
    forced = "" if not found.forced else f", overruled by --environment {found.forced}"
    yield f"Stage: {found.stage.value} ({one_line(str(found.stage_by))}{forced})"
    yield from _section("What fits, the most specific first")
    for match in found.matches:
        yield _row(match.name, match.title)
        for evidence in match.evidence:
            yield _row("", one_line(str(evidence)))
    yield from _section("Facts")
    for name, fact in _facts(found).items():
        yield _row(name, "none" if fact is None else one_line(fact.title))
    yield from _section("Limits")
    yield _row("CPUs", _cpus(limits))
    yield _row("memory", _memory(limits))
    yield _row("workers that fit", f"{workers[0]}: {workers[1]}")
    label, values = named(found)
    yield from _section("Settings that the environment brings along")
    yield _row("profile", label)
    for key, value in values.items():
        yield _row("", f"{key}={value}")
    if found.passed_over:
        yield from _section("Looks like evidence and is none")
        for one in found.passed_over:
            yield _row(one.source, one_line(one.why))


def _facts(found: Detection) -> Mapping[str, Fact | None]:
    return {
        "operating system": found.os,
        "container": found.container,
        "orchestrator": found.orchestrator,
        "service manager": found.service_manager,
        "CI": found.ci,
        "rented machine": found.machine,
    }


def _section(title: str) -> Iterator[str]:
    yield ""
    yield click.style(title, bold=True)


def _row(name: str, text: str) -> str:
    return f"  {name:<{_WIDTH}}{text}".rstrip()


def _cpus(limits: Bounds) -> str:
    if limits.cpus is None:
        return "unknown"
    host = "" if limits.host_cpus is None else f"; the machine has {limits.host_cpus}"
    usable = "" if limits.affinity in {None, limits.host_cpus} else f", {limits.affinity} of them may be used"
    return f"{limits.cpus:g} by {limits.cpus_by}{host}{usable}"


def _memory(limits: Bounds) -> str:
    if limits.memory is None:
        return "unknown"
    host = "" if limits.host_memory is None else f"; the machine has {_size(limits.host_memory)}"
    return f"{_size(limits.memory)} by {limits.memory_by}{host}"


def _size(value: int) -> str:
    return f"{value / _GIB:.1f} GiB" if value >= _GIB else f"{value / _MIB:.0f} MiB"
