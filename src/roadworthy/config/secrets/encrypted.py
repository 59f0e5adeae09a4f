"""The encrypted file as a store: values by name, plain ones encrypted at sight, keys and values changed without loss.

Every change replaces the file as a whole, under a lock. A change of key writes new and old key first, then the file,
and only then, if asked to, the new key alone: after a crash in between, the key file holds a key that opens the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from roadworthy import _clock
from roadworthy.config import regular
from roadworthy.config.secrets import files, key, sealed
from roadworthy.config.secrets.failures import cannot_read, not_found
from roadworthy.config.secrets.sealed import Kept, Value
from roadworthy.config.secrets.store import Entry, Held
from roadworthy.errors import ConfigurationError, NotFound
from roadworthy.types import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from roadworthy.config.secrets.key import Key, KeyPlace

DEFAULT = "secrets.enc.json"


class EncryptedStore:
    """Secrets in an encrypted file at ``path``, with their key at ``key_place``, which must not lie in ``project``."""

    kind = "encrypted_file"
    writable = True
    whole = True
    plain = False

    def __init__(
        self,
        path: Path,
        key_place: KeyPlace,
        project: Path | None = None,
        *,
        wall: Callable[[], float] = _clock.wall,
    ) -> None:
        self._path = path.absolute()
        self._key = key_place
        self._project = project or key.project_of(self._path, None)
        self._wall = wall
        self.place = f"the encrypted file {path}"

    @property
    def path(self) -> Path:
        """Return where the file is."""
        return self._path

    def read(self, name: str) -> dict[str, Held]:
        """Return everything in the file; values that were written there in the clear are encrypted first."""
        kept = self._read(name)
        if name not in kept:
            raise not_found(name, self.place)
        return {
            found: Held(Secret(value.current.text, found), float(value.current.changed))
            for found, value in kept.items()
        }

    def entries(self) -> tuple[Entry, ...]:
        """Return the names with the time of their last change."""
        return tuple(Entry(name, float(kept.current.changed)) for name, kept in self._read("(all)").items())

    def values(self) -> dict[str, Secret]:
        """Return everything in the file; empty when there is none yet."""
        return {name: Secret(kept.current.text, name) for name, kept in self._read("(all)").items()}

    def write(self, name: str, value: str) -> None:
        """Put a value in place of the old one, which is gone then; a previous one that is still kept stays."""
        self.write_all({name: value})

    def write_all(self, secrets: Mapping[str, str]) -> None:
        """Put several values there at once: after a crash all of them are there, or none."""

        def put(kept: dict[str, Kept]) -> None:
            for name, value in secrets.items():
                before = kept.get(name)
                kept[name] = Kept(self._value(value), before.previous if before else None)

        self._change(put)

    def remove(self, name: str) -> None:
        """Take a secret out, its previous value with it."""

        def take_out(kept: dict[str, Kept]) -> None:
            self._present(kept, name)
            del kept[name]

        self._change(take_out)

    def replace_value(self, name: str, value: str) -> None:
        """Put a new value there and keep the old one as the previous one until it is confirmed."""

        def put(kept: dict[str, Kept]) -> None:
            kept[name] = Kept(self._value(value), self._present(kept, name).current)

        self._change(put)

    def previous(self, name: str) -> Secret | None:
        """Return the value before the current one, None when there is none; raises NotFound without the secret."""
        before = self._present(self._read(name), name).previous
        return None if before is None else Secret(before.text, name)

    def confirm(self, name: str) -> None:
        """Drop the previous value: the new one works. Raises NotFound when there is none."""

        def drop(kept: dict[str, Kept]) -> None:
            self._previous(kept, name)
            kept[name] = Kept(kept[name].current)

        self._change(drop)

    def take_back(self, name: str) -> None:
        """Put the previous value in force again and drop the new one. Raises NotFound when there is none."""

        def back(kept: dict[str, Kept]) -> None:
            kept[name] = Kept(Value(self._previous(kept, name).text, int(self._wall())))

        self._change(back)

    def rotate_key(self, *, forget: bool = False) -> tuple[str, str]:
        """Encrypt the file under a new key; return the ids of the old and the new one.

        The old key stays behind the new one in the key file, for copies of this file and for other files under it,
        unless ``forget``. Raises NotFound when there is no file yet. A crash at any point loses nothing: run it again.
        """
        if self._data("(all)") is None:
            raise NotFound(
                f"{self.place} does not exist", why="There is nothing to encrypt anew.", hint="Set a secret first."
            )
        with files.locked(self._key.path), files.locked(self._path):
            data = _bytes_of(self._path)
            keys = self._keys()
            kept = self._open(data, keys)
            fresh = key.new()
            key.save(self._key, (fresh, *keys))
            files.replace(self._path, sealed.seal(kept, fresh))
            self._open(_bytes_of(self._path), key.load(self._key))  # seen to open before an old key may go
            if forget:
                key.save(self._key, (fresh,))
            return sealed.key_of(data, self.place), fresh.id

    def _read(self, name: str) -> dict[str, Kept]:
        data = self._data(name)
        if data is None:
            return {}
        kept = self._open(data, self._keys())
        if any(value.current.plain for value in kept.values()):
            self._change(lambda _kept: None)  # what was typed in is encrypted by writing the file anew
        return kept

    def _change(self, change: Callable[[dict[str, Kept]], object]) -> None:
        with files.locked(self._path):
            keys = self._keys() or self._first_key()
            data = self._data("(all)")
            kept = {} if data is None else self._open(data, keys)
            change(kept)
            files.replace(self._path, sealed.seal(kept, keys[0]))

    def _first_key(self) -> tuple[Key, ...]:
        key.check_outside(self._key, self._project)
        return key.make(self._key)

    def _keys(self) -> tuple[Key, ...]:
        key.check_outside(self._key, self._project)
        return key.load(self._key)

    def _open(self, data: bytes, keys: tuple[Key, ...]) -> dict[str, Kept]:
        def by_id(wanted: str) -> Key:
            for candidate in keys:
                if candidate.id == wanted:
                    return candidate
            have = f"has {', '.join(candidate.id for candidate in keys)}" if keys else "does not exist"
            raise ConfigurationError(
                f"the key of {self.place} is not there",
                why=f"The file needs the key {wanted}; {self._key.path} (from {self._key.origin}) {have}.",
                hint="Restore the key from its copy, or set ROADWORTHY_SECRETS_KEY_FILE to where it is.",
            )

        return sealed.unseal(data, by_id, self.place, int(self._wall()))

    def _data(self, name: str) -> bytes | None:
        try:
            return _bytes_of(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise cannot_read(name, self.place, error) from error

    def _value(self, text: str) -> Value:
        return Value(text, int(self._wall()))

    def _present(self, kept: Mapping[str, Kept], name: str) -> Kept:
        if name not in kept:
            raise not_found(name, self.place)
        return kept[name]

    def _previous(self, kept: Mapping[str, Kept], name: str) -> Value:
        before = self._present(kept, name).previous
        if before is None:
            raise NotFound(
                f"there is no previous value of {name} in {self.place}",
                why="Its last change was confirmed, taken back, or kept none.",
                hint=f"A change that keeps one: roadworthy secrets rotate {name}",
            )
        return before


def _bytes_of(path: Path) -> bytes:
    """Return the bytes of the file; raises OSError."""
    return regular.read(path, files.LARGEST)
