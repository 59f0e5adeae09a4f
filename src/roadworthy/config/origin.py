"""Where a value came from, and what is wrong with one. Standard library only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from roadworthy import _known
from roadworthy.errors import ConfigurationError, RoadworthyError, UsageError

Source = Literal["set", "flag", "environment", "dotenv", "secrets", "toml", "pyproject", "json", "profile", "default"]

ALIKE: Final = 0.6
"""How alike two names must be (0 to 1) for the one to be offered for the other."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: ``source`` for programs, ``where`` (file and line, variable, option) for people."""

    source: Source
    where: str

    def __str__(self) -> str:
        return self.where


DEFAULT: Final = Origin("default", "default")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value that a source has for a key, as it stands there."""

    value: object
    origin: Origin


@dataclass(frozen=True, slots=True)
class Issue:
    """Something that is wrong with a setting; ``error`` refuses the whole configuration, a warning is only told."""

    key: str
    text: str
    origin: Origin | None = None
    hint: str = ""
    error: bool = True

    def __str__(self) -> str:
        where = f" ({self.origin.where})" if self.origin is not None else ""
        return f"{self.key}: {self.text}{where}" if self.key else f"{self.text}{where}"

    def plain(self) -> dict[str, Any]:
        """Return the issue as JSON knows it."""
        return {
            "level": "error" if self.error else "warning",
            "key": self.key,
            "text": self.text,
            "origin": self.origin.where if self.origin is not None else None,
            "hint": self.hint,
        }


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like ``name``, empty when none is."""
    found = difflib.get_close_matches(name, list(known), 1, ALIKE)
    if found:
        return found[0]
    last = name.rpartition(".")[2]  # the right word in the wrong section
    return next((one for one in known if one.rpartition(".")[2] == last), "")


def refusal(issues: Sequence[Issue], *, what: str = "the configuration cannot be used") -> RoadworthyError:
    """Return the error that tells all errors among ``issues`` at once.

    When each came from an option it is a :class:`UsageError`, else a :class:`ConfigurationError`.
    """
    errors = [issue for issue in issues if issue.error]
    usage = all(issue.origin is not None and issue.origin.source == "flag" for issue in errors)
    kind = UsageError if usage else ConfigurationError
    hints = dict.fromkeys(issue.hint for issue in errors if issue.hint)
    if len(errors) == 1:
        where = errors[0].origin
        first = errors[0].text if usage else f"{errors[0].key}: {errors[0].text}" if errors[0].key else errors[0].text
        came = "" if where is None else f"It came from {where.where}."
        return kind(f"{where.where}: {first}" if usage and where else first, why=came, hint=" ".join(hints))
    lines = "\n  ".join(f"{number}. {issue}" for number, issue in enumerate(errors, 1))
    return kind(f"{what}: {len(errors)} settings are wrong", why=lines, hint=" ".join(hints))


def shown(value: object, *, secret: bool) -> object:
    """Return a value as it may be shown: a secret that is there is redacted."""
    return _known.REDACTED if secret and value not in {None, ""} else value
