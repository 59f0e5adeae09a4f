"""Secrets that somebody else has put there: environment variables, systemd credentials, a mounted folder of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from roadworthy.config import regular
from roadworthy.config.secrets.failures import cannot_read, malformed, not_found, read_only, unreachable
from roadworthy.config.secrets.store import Entry, Held
from roadworthy.types import Secret

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 1024 * 1024
"""Bytes of one secret's file: what systemd and Kubernetes allow at most."""


class EnvironmentStore:
    """The environment variables of this process; ``is_secret`` says which of them are listed."""

    kind = "env"
    place = "the environment"
    writable = False
    whole = False
    plain = True

    def __init__(
        self, environ: Mapping[str, str], is_secret: Callable[[str, str], bool] = lambda _name, _value: True
    ) -> None:
        self._environ = environ
        self._is_secret = is_secret

    def read(self, name: str) -> dict[str, Held]:
        """Return the variable's value; an empty one counts as unset."""
        value = self._environ.get(name, "")
        if not value:
            raise not_found(
                name, self.place, f"Set the variable, or choose another store by SECRETS_BACKEND: {name}=..."
            )
        return {name: Held(Secret(value, name))}

    def entries(self) -> tuple[Entry, ...]:
        """Return the variables that hold secrets."""
        return tuple(Entry(name) for name, value in self._environ.items() if value and self._is_secret(name, value))

    def write(self, name: str, value: str) -> None:  # noqa: ARG002 - the interface's
        """Refuse."""
        raise read_only(name, self.place, "Choose a store that can keep it: SECRETS_BACKEND=encrypted_file")

    def remove(self, name: str) -> None:
        """Refuse."""
        raise read_only(name, self.place, "Unset the variable where it is set.")


class FolderStore:
    """A folder with one file a secret, named as it or in lower case; one line feed at the end is not part of it.

    Hidden names are passed over: Kubernetes keeps its generations in them. A replaced file is seen when next read.
    """

    writable = False
    whole = False
    plain = True

    def __init__(self, folder: Path, kind: str, called: str) -> None:
        self.kind = kind
        self.place = f"{called} {folder}"
        self._folder = folder

    def read(self, name: str) -> dict[str, Held]:
        """Return the content of the secret's file."""
        try:
            path = self._path(name)
            data = regular.read(path, LARGEST + 1)
            changed = path.stat().st_mtime
        except OSError as error:
            raise cannot_read(name, self.place, error) from error
        if len(data) > LARGEST:
            raise malformed(name, self.place, f"Its file is larger than {LARGEST >> 20} MiB.")
        text = _text(data)
        if text is None:
            raise malformed(name, self.place, "Its file is not UTF-8 text.")
        return {name: Held(Secret(text.removesuffix("\n"), name), changed)}

    def entries(self) -> tuple[Entry, ...]:
        """Return the names of the files."""
        try:
            found = [path for path in self._folder.iterdir() if not path.name.startswith(".") and path.is_file()]
            return tuple(Entry(path.name, path.stat().st_mtime) for path in found)
        except OSError as error:
            raise unreachable("(all)", self.place, f"{error.strerror} (errno {error.errno}).") from error

    def write(self, name: str, value: str) -> None:  # noqa: ARG002 - the interface's
        """Refuse."""
        raise read_only(name, self.place, "Change it where the folder is filled from; the new value is then read here.")

    def remove(self, name: str) -> None:
        """Refuse."""
        raise read_only(name, self.place, "Remove it where the folder is filled from.")

    def _path(self, name: str) -> Path:
        exact = self._folder / name
        return exact if exact.exists() or not (self._folder / name.lower()).exists() else self._folder / name.lower()


def _text(data: bytes) -> str | None:
    """Return the text, None when it is none: the decoder's error would carry the bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
