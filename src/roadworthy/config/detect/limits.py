"""How much this process may use: the tightest of host, CPU affinity, each cgroup above it, and what a platform says.

``os.cpu_count()`` sees neither quotas nor affinity; a worker count that rests on it is wrong in every container.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from roadworthy.config.detect import cgroup

if TYPE_CHECKING:
    from roadworthy.config.detect.reader import Reader

LAMBDA_MIB_A_CPU: Final = 1769
"""MiB of memory for which AWS Lambda gives one vCPU; less memory, less of one."""

WORKER_MEMORY: Final = 128 << 20
"""Bytes that a worker is taken to need when nobody says better."""

MOST_WORKERS: Final = 64


@dataclass(frozen=True, slots=True)
class Bounds:
    """What binds this process; None is unknown. ``memory_by`` and ``cpus_by`` say what set each.

    ``host_cpus`` and ``host_memory`` are the machine's own, ``affinity`` the CPUs that it may run on.
    """

    cpus: float | None = None
    cpus_by: str = ""
    memory: int | None = None
    memory_by: str = ""
    host_cpus: int | None = None
    host_memory: int | None = None
    affinity: int | None = None


def bounds(reader: Reader) -> Bounds:
    """Return what binds this process; never raises, and what cannot be read is None."""
    host_memory = _host_memory(reader.text("/proc/meminfo"))
    group = cgroup.limits(reader.text)
    affinity, host_cpus = reader.affinity(), reader.cpus()
    told_cpus, told_memory = _declared(reader)
    cpus = [
        (group.cpus, "cgroup quota"),
        (None if affinity is None else float(affinity), "CPU affinity"),
        (None if host_cpus is None else float(host_cpus), "host"),
        *told_cpus,
    ]
    memory = [
        (group.memory, "cgroup limit"),
        (group.memory_high, "cgroup memory.high"),
        (host_memory, "host"),
        *told_memory,
    ]
    least_cpus, cpus_by = _least(cpus)
    least_memory, memory_by = _least(memory)
    return Bounds(
        least_cpus,
        cpus_by,
        None if least_memory is None else int(least_memory),
        memory_by,
        host_cpus,
        host_memory,
        affinity,
    )


def suggested_workers(found: Bounds, *, memory_each: int = WORKER_MEMORY) -> tuple[int, str]:
    """Return how many worker processes fit, and why: one for each whole CPU, as many as the memory holds, at least one.

    ``memory_each`` is in bytes: measure one worker under load and put in what it used.
    """
    if found.cpus is None:
        return 1, "it is not known how many CPUs there are"
    by_cpus = max(1, math.floor(found.cpus))
    by_memory = max(1, found.memory // memory_each) if found.memory is not None else by_cpus
    count = min(by_cpus, by_memory, MOST_WORKERS)
    if count == by_cpus:
        return count, f"one for each whole CPU of {found.cpus:g} ({found.cpus_by})"
    if count == by_memory:
        return count, f"{memory_each >> 20} MiB each, and there are {(found.memory or 0) >> 20} MiB ({found.memory_by})"
    return count, f"more than {MOST_WORKERS} are for people to decide"


def _least(values: list[tuple[float | None, str]]) -> tuple[float | None, str]:
    """Return the smallest of what is known and who says it; of equal ones the host counts as what binds."""
    told = [(value, name) for value, name in values if value is not None]
    if not told:
        return None, ""
    least = min(value for value, _ in told)
    names = [name for value, name in told if value == least]
    return least, "host" if "host" in names else names[0]


def _host_memory(text: str | None) -> int | None:
    for line in (text or "").splitlines():
        key, _, rest = line.partition(":")
        words = rest.split()
        if key == "MemTotal" and words:
            value = cgroup.number(words[0])
            return None if value is None else value * 1024
    return None


def _declared(reader: Reader) -> tuple[list[tuple[float | None, str]], list[tuple[float | None, str]]]:
    """Return the CPUs and the memory that a platform says in variables, where no cgroup tells them."""
    cpus: list[tuple[float | None, str]] = []
    memory: list[tuple[float | None, str]] = []
    mib = _number(reader.variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"))
    if mib is not None:
        memory.append((mib * (1 << 20), "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"))
        cpus.append((round(mib / LAMBDA_MIB_A_CPU, 2), "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"))
    render = _number(reader.variable("RENDER_CPU_COUNT"))
    if render is not None:
        cpus.append((render, "RENDER_CPU_COUNT"))
    return cpus, memory


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
