"""Limits that the kernel sets a group of processes: cgroup v1, v2 and hybrid, and the CPU affinity.

A limit of any ancestor binds, so the answer is the minimum over the whole path. Everything is read through one small
function ``read(path) -> text | None``; a recorded tree is therefore a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

Read = Callable[[str], str | None]
"""Returns the text of a file, or None when it is not there."""

_DIGITS: Final = 20
"""Digits of the largest number that the kernel writes: 2^64 - 1."""

UNLIMITED: Final = 1 << 60
"""Version 1 says "no limit" as the largest multiple of a page below 2^63; nobody has an exbibyte."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What binds a process: memory in bytes, CPUs as a fraction of cores; ``by`` names what set them."""

    memory: int | None = None
    memory_high: int | None = None
    memory_used: int | None = None
    cpus: float | None = None
    oom_kills: int | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class _Group:
    """One hierarchy that the process is in: where it is mounted, and the path inside."""

    version: int
    controllers: frozenset[str]
    mount: str
    path: str


def parse_membership(text: str) -> dict[str, str]:
    """Return controller -> path from ``/proc/<pid>/cgroup``; the key of version 2 is the empty string."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:  # noqa: PLR2004 - number:controllers:path
            for controller in parts[1].split(","):
                found[controller] = parts[2]
    return found


def parse_mounts(text: str) -> list[tuple[str, str, str, frozenset[str]]]:
    """Return (type, mount point, root inside the hierarchy, options) of the cgroup mounts in ``mountinfo``."""
    found = []
    for line in text.splitlines():
        left, dash, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if not dash or len(fields) < 5 or len(kind) < 3 or kind[0] not in {"cgroup", "cgroup2"}:  # noqa: PLR2004 - proc(5)
            continue
        found.append((kind[0], fields[4], fields[3], frozenset(kind[2].split(","))))
    return found


def _groups(membership: Mapping[str, str], mounts: list[tuple[str, str, str, frozenset[str]]]) -> Iterator[_Group]:
    for kind, point, root, options in mounts:
        if kind == "cgroup2":
            if "" in membership:
                yield _Group(2, frozenset(), point, _below(membership[""], root))
            continue
        for controller in ("memory", "cpu"):
            if controller in options and controller in membership:
                yield _Group(1, frozenset({controller}), point, _below(membership[controller], root))


def _below(path: str, root: str) -> str:
    """Return where ``path`` of the hierarchy is under a mount of its part ``root``."""
    if root in {"/", ""}:
        return path
    if path == root or path.startswith(root + "/"):
        return path[len(root) :] or "/"
    return "/"


def _ancestors(group: _Group) -> Iterator[str]:
    path = group.path.rstrip("/")
    while True:
        yield group.mount + path
        if not path:
            return
        path = path.rsplit("/", 1)[0]


def number(text: str) -> int | None:
    """Return a number as the kernel writes it, None for anything else, however many digits it has."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


def parse_limit(text: str | None) -> int | None:
    """Return a limit in bytes; None for "max", -1, the version 1 sentinel, and for what is not there."""
    value = number((text or "").strip())
    return None if value is None or value >= UNLIMITED else value


def parse_cpu_max(text: str | None) -> float | None:
    """Return version 2's ``cpu.max`` ("quota period") in cores, or None for "max"."""
    parts = (text or "").split()
    of, per = (number(parts[0]), number(parts[1])) if len(parts) == 2 else (None, None)  # noqa: PLR2004 - two words
    return of / per if of and per else None


def parse_quota(quota: str | None, period: str | None) -> float | None:
    """Return version 1's quota over period in cores; a quota of -1 means none."""
    of, per = number((quota or "").strip()), number((period or "").strip())
    return of / per if of and per else None


def parse_flat(text: str | None, key: str) -> int | None:
    """Return one number of a "key value" file such as ``memory.events`` or ``memory.oom_control``."""
    for line in (text or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return number(value.strip())
    return None


def _least(*values: float | None) -> float | None:
    told = [value for value in values if value is not None]
    return min(told) if told else None


def limits(
    read: Read,
    *,
    pid: str = "self",
    host_memory: int | None = None,
    host_cpus: float | None = None,
    affinity: int | None = None,
) -> Limits:
    """Return what binds process ``pid``: the minimum over affinity, host and every cgroup above it.

    ``oom_kills`` counts in the process's own group. Where nothing can be read the host's figures are returned.
    """
    membership = parse_membership(read(f"/proc/{pid}/cgroup") or "")
    mounts = parse_mounts(read(f"/proc/{pid}/mountinfo") or "")
    memory: int | None = None
    high: int | None = None
    used: int | None = None
    oom: int | None = None
    quota: float | None = None
    for group in _groups(membership, mounts):
        for index, directory in enumerate(_ancestors(group)):
            if group.version == 2:  # noqa: PLR2004 - cgroup v2
                limit = parse_limit(read(f"{directory}/memory.max"))
                pressure = parse_limit(read(f"{directory}/memory.high"))
                cores = parse_cpu_max(read(f"{directory}/cpu.max"))
                usage_file, oom_file = "memory.current", "memory.events"
            elif "memory" in group.controllers:
                limit = parse_limit(read(f"{directory}/memory.limit_in_bytes"))
                pressure = None  # version 1's soft limit slows nobody down while there is memory
                cores = None
                usage_file, oom_file = "memory.usage_in_bytes", "memory.oom_control"
            else:
                limit = pressure = None
                cores = parse_quota(read(f"{directory}/cpu.cfs_quota_us"), read(f"{directory}/cpu.cfs_period_us"))
                usage_file = oom_file = ""
            if index == 0 and oom_file:
                kills = parse_flat(read(f"{directory}/{oom_file}"), "oom_kill")
                oom = kills if oom is None else oom
            if limit is not None and (memory is None or limit < memory):
                memory, used = limit, parse_limit(read(f"{directory}/{usage_file}"))
            high = _int(_least(high, pressure))
            quota = _least(quota, cores)
    return _combine(Limits(memory, high, used, quota, oom), host_memory, host_cpus, affinity)


def _int(value: float | None) -> int | None:
    return None if value is None else int(value)


def _combine(group: Limits, host_memory: int | None, host_cpus: float | None, affinity: int | None) -> Limits:
    by = []
    memory, used = group.memory, group.memory_used
    if memory is not None and (host_memory is None or memory < host_memory):
        by.append("cgroup memory")
    else:
        memory, used = host_memory, None
    cpus = _least(group.cpus, host_cpus, affinity)
    if group.cpus is not None and cpus == group.cpus and (host_cpus is None or cpus < host_cpus):
        by.append("cgroup cpu")
    elif affinity is not None and cpus == affinity and host_cpus is not None and affinity < host_cpus:
        by.append("affinity")
    return Limits(memory, group.memory_high, used, cpus, group.oom_kills, ", ".join(by))
