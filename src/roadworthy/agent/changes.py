"""Settings that change while a program runs, as values: what is in force, what was set by hand, what ends when. Pure.

``base`` is what the sources say, with what was set for good; each timed change lies on top of it until its time is
over. A *leaf* is one value of :class:`RunSettings` by dotted name, a *row* what is shown of one setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from roadworthy.agent.statefiles import check_schema

if TYPE_CHECKING:
    from roadworthy.config.values import RunSettings

SCHEMA: Final = 1

LIVE: Final = frozenset({
    "log_level", "stop_grace", "ready_timeout", "restart", "hang", "thresholds", "check_every", "checks_on",
    "sample_performance", "sample_errors", "report_every", "retention_hours",
})  # fmt: skip
"""Fields of :class:`RunSettings` that the agent takes over while the program runs."""

Leaves = Mapping[str, Any]
Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Timed:
    """A change that ends by itself at ``until`` (wall seconds): the value as it was given, and all that it changed."""

    value: Any
    until: float
    leaves: Leaves
    rows: Rows


@dataclass(frozen=True, slots=True)
class Changes:
    """Everything that was changed since the start."""

    leaves: Leaves
    rows: Rows
    fixed: Mapping[str, Any] = field(default_factory=dict)
    timed: Mapping[str, Timed] = field(default_factory=dict)

    @classmethod
    def first(cls, settings: RunSettings, rows: Iterable[Mapping[str, Any]]) -> Changes:
        """Return the state at the start of a run, with nothing changed."""
        return cls(leaves(settings), {str(row["key"]): row for row in rows})

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Changes:
        """Read back :meth:`to_json`; raises what reading something else raises."""
        check_schema(raw, SCHEMA)
        timed = {key: Timed(**one) for key, one in raw["timed"].items()}
        return cls(dict(raw["leaves"]), dict(raw["rows"]), dict(raw["fixed"]), timed)

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON knows it."""
        return {"schema": SCHEMA, **asdict(self)}

    def leaves_now(self) -> dict[str, Any]:
        """Return the leaves in force."""
        made = dict(self.leaves)
        for one in self.timed.values():
            made |= one.leaves
        return made

    def rows_now(self) -> dict[str, Mapping[str, Any]]:
        """Return the rows in force; a timed one tells until when."""
        made = dict(self.rows)
        for one in self.timed.values():
            made |= {key: {**row, "until": one.until} for key, row in one.rows.items()}
        return made

    def given(self) -> dict[str, Any]:
        """Return all values that were set by hand and still stand."""
        return {**self.fixed, **{key: one.value for key, one in self.timed.items()}}

    def without(self, key: str) -> Changes:
        """Return the state without a timed change of ``key``."""
        return replace(self, timed={name: one for name, one in self.timed.items() if name != key})

    def expired(self, now: float) -> tuple[Changes, tuple[str, ...]]:
        """Return the state at ``now``, and the keys whose time is over."""
        over = tuple(key for key, one in self.timed.items() if one.until <= now)
        left = {key: one for key, one in self.timed.items() if key not in over}
        return (replace(self, timed=left) if over else self), over

    def next_end(self) -> float | None:
        """Return when the next timed change ends."""
        return min((one.until for one in self.timed.values()), default=None)


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that is another than before."""

    key: str
    old: Any
    new: Any
    origin: str
    live: bool


def compared(before: Rows, after: Rows) -> list[Change]:
    """Return which settings are others, in the order of their names; ``after`` knows which are live."""
    found = []
    for key, row in after.items():
        old = before.get(key, {})
        if old.get("value") != row.get("value"):
            live = bool(row.get("live") or row.get("unused"))
            found.append(Change(key, old.get("value"), row.get("value"), str(row.get("origin")), live))
    return found


def rebased(state: Changes, settings: RunSettings, rows: Rows, fixed: Mapping[str, Any]) -> Changes:
    """Return the state on a new base; what cannot change while the program runs stays as it was."""
    return Changes(leaves(settings), _kept(state.rows, rows), fixed, state.timed)


def laid_on(state: Changes, key: str, value: object, until: float, settings: RunSettings, rows: Rows) -> Changes:
    """Return the state with a timed change; ``settings`` and ``rows`` are what the sources say with it."""
    rest = state.without(key)
    before, after = rest.leaves_now(), leaves(settings)
    changed = {name: one for name, one in after.items() if before.get(name) != one}
    now = rest.rows_now()
    told = {one.key: rows[one.key] for one in compared(now, rows) if one.live} | {key: rows[key]}
    return replace(rest, timed={**rest.timed, key: Timed(value, until, changed, told)})


def _kept(before: Rows, after: Rows) -> dict[str, Mapping[str, Any]]:
    return {
        key: row if row.get("live") or row.get("unused") or key not in before else before[key]
        for key, row in after.items()
    }


def leaves(settings: RunSettings) -> dict[str, Any]:
    """Return the values that may change, by dotted name."""
    made: dict[str, Any] = {}
    for one in fields(settings):
        if one.name in LIVE:
            value = getattr(settings, one.name)
            if is_dataclass(value):
                made |= {f"{one.name}.{inner.name}": getattr(value, inner.name) for inner in fields(value)}
            else:
                made[one.name] = value
    return made


def with_leaves(settings: RunSettings, found: Leaves) -> RunSettings:
    """Return the settings with these values in them; raises ``TypeError`` for a name that is none."""
    changed: dict[str, Any] = {}
    for name, value in found.items():
        outer, _, inner = name.partition(".")
        if outer not in LIVE:
            message = f"{name} does not change while the program runs"
            raise TypeError(message)
        changed[outer] = replace(changed.get(outer, getattr(settings, outer)), **{inner: value}) if inner else value
    every = changed.get("check_every", settings.check_every)
    checks = tuple(replace(check, every=every) for check in settings.checks)
    return replace(settings, **changed, checks=checks)
