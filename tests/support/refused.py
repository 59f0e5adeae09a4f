"""The real ``roadworthy`` command given bad input: what it says, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.running import ROADWORTHY

LINES_MOST = 3
"""What, why, what to do."""


def environment(home: Path, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Return our environment with ``home`` as the place of everything; a change to None takes a variable away."""
    env = {**os.environ, "ROADWORTHY_HOME": str(home)}
    for name in ("PORT", "WORKERS", "LOG_LEVEL", "NOTIFY_SOCKET"):
        env.pop(name, None)
    for name, value in (changes or {}).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env


def roadworthy(
    home: Path, *arguments: str | bytes, env: Mapping[str, str | None] | None = None, **popen: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end with nothing to read; both outputs are kept unless said otherwise."""
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen}
    return subprocess.run([*ROADWORTHY, *arguments], env=environment(home, env), check=False, timeout=60, **given)


def one_error(done: subprocess.CompletedProcess[bytes], code: int) -> str:
    """Return what was said on standard error, after checking that it is one error of ours and ``code`` its code."""
    text = done.stderr.decode(errors="replace")
    lines = text.splitlines()
    assert done.returncode == code, (done.returncode, text)
    assert "Traceback" not in text
    assert lines, "nothing was said"
    assert lines[0].startswith("roadworthy: "), text
    assert sum(line.startswith("roadworthy: ") for line in lines) == 1, text
    assert len(lines) <= LINES_MOST, text
    assert all(line.startswith("  ") for line in lines[1:]), text
    assert done.stdout in {b"", None}
    return text


def files(home: Path) -> list[str]:
    """Return every file, socket and link below ``home``, and the directories of applications."""
    found = [path for path in home.rglob("*") if not path.is_dir() or path.is_symlink()]
    found += [path for part in ("arena", "run") for path in home.glob(f"{part}/*")]
    return sorted(str(path.relative_to(home)) for path in found)


def processes(home: Path) -> list[str]:
    """Return the command lines of living processes that were started with ``home`` as their place."""
    mark = f"ROADWORTHY_HOME={home}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # gone, or not ours
    return found


def nothing_left(home: Path) -> None:
    """Check that a refusal left no process, file, socket or directory of the application behind."""
    assert processes(home) == []
    assert files(home) == []
