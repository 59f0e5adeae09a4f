"""What an application says of a setting beyond its type, inside ``Annotated[...]``. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Env:
    """Further names of environment variables; each counts with the prefix, too, and then goes before."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)


@dataclass(frozen=True, slots=True)
class Group:
    """A table made of all variables that begin with ``prefix``, by the rest of their names in small letters."""

    prefix: str


@dataclass(frozen=True, slots=True)
class RequiredIf:
    """The setting is required while another one (by dotted name) is ``value``; by default, while it is on."""

    key: str
    value: object = True


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory that must be there and be readable, and with ``write`` writable; ``create`` makes a missing one.

    A relative path is seen from the application's root, never from the current directory.
    """

    write: bool = False
    create: bool = False


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that must be there and be readable; a relative path is seen from the application's root."""


Marker = Env | Group | RequiredIf | Folder | Asset
