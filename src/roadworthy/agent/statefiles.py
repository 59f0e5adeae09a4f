"""Small files of the state directory: versioned, and replaced as a whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from roadworthy.errors import Exhausted, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def check_schema(raw: Mapping[str, Any], schema: int) -> None:
    """Raise ``ValueError`` when a saved file is of another version."""
    if raw["schema"] != schema:
        message = f"schema {raw['schema']}, this version reads {schema}"
        raise ValueError(message)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file as a whole.

    Raises :class:`Exhausted` (disk full) or :class:`Unavailable`, the old one then stays.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        kind = Exhausted if error.errno in {28, 122} else Unavailable
        raise kind(
            f"cannot write {path}",
            why=f"{error.strerror} (errno {error.errno}).",
            hint="Free some space there, or let ROADWORTHY_HOME point to a directory that has some.",
        ) from error


def remove_half_written(folder: Path) -> None:
    """Remove what killed writers left below ``folder``; what one that lives has begun may become a file yet."""
    for path in folder.rglob(".*.*"):
        writer = path.suffix[1:]
        if writer.isdecimal() and path.is_file() and not _lives(int(writer)):
            path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
