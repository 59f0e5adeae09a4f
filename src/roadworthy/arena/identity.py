"""Who a process is: boot id, pid and start time together. A pid alone is no identity (reuse, containers)."""

from __future__ import annotations

_BOOT_FILE = "/proc/sys/kernel/random/boot_id"
_boot = ""


def boot_id() -> str:
    """Return the kernel's boot id (36 characters); zeros where the system has none."""
    global _boot  # noqa: PLW0603 - it cannot change while we run, and it is asked for once per arena
    if not _boot:
        try:
            with open(_BOOT_FILE, "rb") as file:
                _boot = file.read().decode("ascii").strip()[:36]
        except OSError:
            _boot = "00000000-0000-0000-0000-000000000000"
    return _boot


def stat_fields(pid: int | str) -> tuple[str, int, int] | None:
    """Return state letter, parent and start ticks of a process, or None when there is no such process (or no /proc)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The name in brackets may contain anything, brackets too: count from the last one.
    fields = text[text.rindex(b")") + 2 :].split()
    return fields[0].decode("ascii"), int(fields[1]), int(fields[19])


def start_ticks(pid: int | str = "self") -> int:
    """Return field 22 of ``/proc/<pid>/stat``, 0 when it cannot be read."""
    found = stat_fields(pid)
    return found[2] if found else 0


def is_alive(boot: str, pid: int, ticks: int) -> bool:
    """Tell whether exactly that process still runs; one that ended and waits to be reaped does not."""
    if boot != boot_id():
        return False
    found = stat_fields(pid)
    return found is not None and found[2] == ticks and found[0] not in {"Z", "X"}
