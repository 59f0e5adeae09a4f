"""A snapshot as a file: whole or not there at all, and never over another one (CONFLICTS C-08)."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from roadworthy.errors import Exhausted, Unavailable
from roadworthy.view.prometheus import Renderer
from roadworthy.view.snapshot import dumps

if TYPE_CHECKING:
    from pathlib import Path

    from roadworthy.types import Snapshot

Format = Literal["json", "prometheus"]

ENDINGS: Final[dict[Format, str]] = {"json": "json", "prometheus": "prom"}
DISK_IS_FULL: Final = frozenset({28, 122})


def render(snapshot: Snapshot, form: Format) -> str:
    """Return the file's content."""
    return dumps(snapshot, indent=1) + "\n" if form == "json" else Renderer().render(snapshot)


def file_name(at: float, form: Format, *, prefix: str = "metrics_") -> str:
    """Return the name for a snapshot taken at ``at`` (wall seconds): the prefix, the time in UTC to milliseconds."""
    when = datetime.fromtimestamp(at, UTC)
    return f"{prefix}{when:%Y%m%dT%H%M%S}{when.microsecond // 1000:03d}Z.{ENDINGS[form]}"


def write(snapshot: Snapshot, directory: Path, form: Format = "json", *, prefix: str = "metrics_") -> Path:
    """Write the snapshot into ``directory``, which is made when it is missing, and return the file.

    It is written under another name, flushed to disk, and renamed: a reader sees the whole file or none, and a failure
    leaves nothing behind. Raises :class:`Exhausted` when the disk is full, :class:`Unavailable` when it cannot be
    written.
    """
    return write_file(directory, file_name(snapshot.at, form, prefix=prefix), render(snapshot, form))


def write_file(directory: Path, name: str, content: str) -> Path:
    """Write a file of this name into ``directory``, whole or not at all, and return it; raises as :func:`write`."""
    target = directory / name
    draft = directory / f".{target.name}.{secrets.token_hex(4)}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            with os.fdopen(
                os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8"
            ) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        kind = Exhausted if error.errno in DISK_IS_FULL else Unavailable
        raise kind(
            f"cannot write {target.name} into {directory}",
            why=f"{error.strerror} (errno {error.errno}).",
            hint="Choose another directory: --path DIR",
        ) from error
    return target
