"""The key of the encrypted file: where it lies (never in the project), how it is made, checked and changed.

A key file has one key a line, base64 of 32 bytes; lines that begin with ``#`` are comments. The first key encrypts; the
others are read with, so that a change of key that was cut short leaves nothing unreadable. Looked for in this order:
the file that ``ROADWORTHY_SECRETS_KEY_FILE`` names, the systemd credential ``roadworthy-secrets-key``, then
``roadworthy/secrets.key`` in the user's configuration folder.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from roadworthy.config import regular
from roadworthy.config.secrets import files
from roadworthy.config.secrets.failures import cannot_write
from roadworthy.errors import ConfigurationError, Refused, Unavailable

LENGTH = 32
CREDENTIAL = "roadworthy-secrets-key"
MARKERS = (".git", ".hg", "pyproject.toml", "roadworthy.toml", "setup.py", "setup.cfg")
"""What makes a folder the root of a project."""

_HEAD = "# The key of a roadworthy secrets file. Keep a copy in a safe place; whoever has it can read the secrets.\n"


@dataclass(frozen=True, slots=True)
class Key:
    """One key; ``id`` tells which one it is and nothing about it."""

    raw: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """Return what encrypted files name the key by."""
        return hashlib.sha256(b"roadworthy secrets key id\0" + self.raw).hexdigest()[:16]

    @property
    def line(self) -> str:
        """Return the key as it stands in its file."""
        return base64.b64encode(self.raw).decode() + "\n"


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where the key is to be found; ``ours`` says that we may make and change it, and check its mode."""

    path: Path
    origin: str
    ours: bool


def place(environ: Mapping[str, str]) -> KeyPlace:
    """Return where the key lies, or would be made; raises :class:`ConfigurationError` when nothing says where."""
    if given := environ.get("ROADWORTHY_SECRETS_KEY_FILE"):
        return KeyPlace(Path(given).absolute(), "ROADWORTHY_SECRETS_KEY_FILE", ours=True)
    if (folder := environ.get("CREDENTIALS_DIRECTORY")) and (path := Path(folder) / CREDENTIAL).exists():
        return KeyPlace(path, f"the systemd credential {CREDENTIAL}", ours=False)
    base = environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        home = environ.get("HOME", "")
        if not home.startswith("/"):
            raise ConfigurationError(
                "there is no place for the key of the encrypted secrets",
                why="Neither ROADWORTHY_SECRETS_KEY_FILE nor a systemd credential is given, and HOME is not set.",
                hint="Set ROADWORTHY_SECRETS_KEY_FILE to a file outside the project.",
            )
        base = f"{home}/.config"
    return KeyPlace(Path(base) / "roadworthy" / "secrets.key", "the user's configuration folder", ours=True)


def project_of(file: Path, home: Path | None) -> Path:
    """Return the folder of the project that ``file`` belongs to: the nearest one with a marker, else the file's own."""
    folder = file.absolute().parent
    for candidate in (folder, *folder.parents):
        if candidate in {home, candidate.parent}:
            break
        if any((candidate / marker).exists() for marker in MARKERS):
            return candidate
    return folder


def check_outside(key: KeyPlace, project: Path) -> None:
    """Raise :class:`Refused` when the key would lie in the project: it would be copied with the secrets."""
    if key.path.resolve().is_relative_to(project.resolve()):
        raise Refused(
            f"the key {key.path} lies inside the project {project}",
            why=f"It came from {key.origin}; whoever gets a copy of the project could read its secrets.",
            hint="Move it out of the project and set ROADWORTHY_SECRETS_KEY_FILE to where it is then.",
        )


def load(key: KeyPlace) -> tuple[Key, ...]:
    """Return the keys of the file, the one that encrypts first; none when there is no file.

    Raises Refused (others may read it, it is not ours), ConfigurationError (it is no key file) or Unavailable.
    """
    try:
        if key.ours:
            files.check_private(key.path, "the key of the encrypted secrets")
        lines = regular.read(key.path, files.LARGEST).decode("ascii", "replace").splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise Unavailable(
            f"the key {key.path} cannot be read",
            why=f"{error.strerror} (errno {error.errno}). It came from {key.origin}.",
            hint="Make it readable for this user.",
        ) from error
    keys = tuple(_decoded(line) for line in lines if line.strip() and not line.startswith("#"))
    if not keys or None in keys:
        raise ConfigurationError(
            f"{key.path} is not a key file",
            why=f"It came from {key.origin}; each line has to be base64 of {LENGTH} bytes.",
            hint="Restore it from its copy. To make a new one: head -c 32 /dev/urandom | base64",
        )
    return tuple(found for found in keys if found is not None)


def make(key: KeyPlace) -> tuple[Key, ...]:
    """Make a new key where there is none, on disk when this returns, and return what is there then.

    Of several that make one at the same time, one wins and all use its key. Raises Unavailable or Exhausted.
    """
    _need_ours(key)
    try:
        key.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = key.path.with_name(f".{key.path.name}.{os.getpid()}")
        beside.unlink(missing_ok=True)
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(handle, _text((new(),)))
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            with contextlib.suppress(FileExistsError):  # somebody was faster: theirs is used
                os.link(beside, key.path)
        finally:
            beside.unlink()
        files.sync_folder(key.path.parent)
    except OSError as error:
        raise cannot_write(key.path, error) from error
    return load(key)


def new() -> Key:
    """Return a key that nobody has."""
    return Key(os.urandom(LENGTH))


def save(key: KeyPlace, keys: tuple[Key, ...]) -> None:
    """Replace the keys in the file, on disk when this returns; raises Unavailable, Exhausted or ConfigurationError."""
    _need_ours(key)
    files.replace(key.path, _text(keys))


def _need_ours(key: KeyPlace) -> None:
    if not key.ours:
        raise ConfigurationError(
            f"the key {key.path} cannot be changed from here",
            why=f"It is {key.origin}, which only whoever starts the service can change.",
            hint="Work on the secrets with ROADWORTHY_SECRETS_KEY_FILE set to a copy of it, then renew the credential.",
        )


def _text(keys: tuple[Key, ...]) -> bytes:
    return (_HEAD + "".join(key.line for key in keys)).encode()


def _decoded(line: str) -> Key | None:
    try:
        raw = base64.b64decode(line.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return Key(raw) if len(raw) == LENGTH else None
