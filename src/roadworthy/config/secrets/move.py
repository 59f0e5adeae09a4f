"""Moves the secrets of a plain ``.env`` to the encrypted file; every other line and comment stays as it is.

First the encrypted file has them, on disk and read back; only then are they taken out of the ``.env``, which is
replaced as a whole. After a crash in between they are in both: moving again finishes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from roadworthy.config.secrets import dotenv, files
from roadworthy.config.secrets.store import check_name
from roadworthy.errors import RoadworthyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from roadworthy.config.dotenv import Line
    from roadworthy.config.secrets.encrypted import EncryptedStore

SETTINGS = ("ROADWORTHY_", "SECRETS_BACKEND", "AWS_SECRET_NAME", "AZURE_KEY_VAULT_URL", "VAULT_SECRET_PATH")
"""What begins so chooses the store and can never come out of it."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What was moved, by name, and the numbers of comment lines that look as if a secret stood in them."""

    names: tuple[str, ...]
    doubtful: tuple[int, ...]


def plan(
    lines: list[Line], is_secret: Callable[[str, str], bool], keep: Collection[str] = ()
) -> tuple[dict[str, str], str]:
    """Return the secrets among the lines, and the text that is left when they are out: a comment stands for each."""
    secrets = {
        name: value
        for name, value in dotenv.values(lines).items()
        if value and name not in keep and not name.startswith(SETTINGS) and is_secret(name, value)
    }
    left = []
    told: set[str] = set()
    for line in lines:
        if line.name not in secrets:
            left.append(line.raw)
        elif line.name not in told:
            told.add(line.name)
            left.append(f"# {line.name} is in the encrypted file: roadworthy secrets get {line.name}\n")
    return secrets, "".join(left)


def move(
    path: Path,
    store: EncryptedStore,
    is_secret: Callable[[str, str], bool],
    *,
    keep: Collection[str] = (),
    overwrite: bool = False,
    only_tell: bool = False,
) -> Moved:
    """Move what ``is_secret(name, value)`` says is one, except ``keep``, from the file to the store.

    With ``only_tell`` nothing is changed. Raises UsageError when the store has another value under one of the names,
    unless ``overwrite``; OSError when the file cannot be read; and what reading and writing the store raises.
    """
    with files.locked(path):
        lines = dotenv.read(path)
        secrets, left = plan(lines, is_secret, keep)
        doubtful = tuple(line.number for line in lines if not line.name and is_secret("", line.raw))
        if only_tell or not secrets:
            return Moved(tuple(sorted(secrets)), doubtful)
        for name in secrets:
            check_name(name)
        _refuse_others(secrets, store, path, overwrite=overwrite)
        store.write_all(secrets)
        there = store.values()
        missing = sorted(name for name, value in secrets.items() if name not in there or there[name].reveal() != value)
        if missing:
            raise RoadworthyError(
                f"{', '.join(missing)} did not arrive in {store.place}",
                why="What was written there is not what is read from there.",
                hint=f"{path} is unchanged. Try again; if it stays so, report it.",
            )
        files.replace(path, left.encode())
        return Moved(tuple(sorted(secrets)), doubtful)


def _refuse_others(secrets: dict[str, str], store: EncryptedStore, path: Path, *, overwrite: bool) -> None:
    there = store.values()
    other = sorted(name for name, value in secrets.items() if name in there and there[name].reveal() != value)
    if other and not overwrite:
        raise UsageError(
            f"{store.place} has other values of {', '.join(other)} than {path}",
            why="One of the two is out of date, and it cannot be told which.",
            hint=f"Remove them from {path}, or take its values: roadworthy secrets encrypt --overwrite",
        )
