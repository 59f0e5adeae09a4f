"""Changes settings while the program runs: validated as a whole elsewhere, then in force, or refused as a whole.

The agent has no schema in it. ``validate`` asks a process that has one, with everything that was set by hand, and
returns what all sources together say. A change is saved first and then taken over; when either fails, everything is as
it was before. What is saved survives the agent; timed changes end by themselves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from roadworthy import _clock
from roadworthy.agent.asked import reason_of, seconds_of
from roadworthy.agent.changes import Change, Changes, compared, laid_on, leaves, rebased, with_leaves
from roadworthy.agent.statefiles import write_atomically
from roadworthy.config.values import RunSettings
from roadworthy.errors import ConfigurationError, NotFound, RoadworthyError, Unavailable, UsageError

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "changes.json"
RECORD: Final = "config.json"
MOST_SET: Final = 200
LONGEST_VALUE: Final = 4096

Validate = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class Configuring:
    """Holds what is in force.

    ``apply`` takes settings over, and raises when it cannot; ``audit`` keeps a record and tells whether it did.
    """

    def __init__(
        self,
        settings: RunSettings,
        run: Path,
        *,
        validate: Validate,
        apply: Callable[[RunSettings], object],
        audit: Callable[[Mapping[str, object]], bool],
        note: Callable[[str, str], None],
        reloaded: Callable[[], object] = lambda: None,
    ) -> None:
        self._first = settings
        self._run = run
        self._validate = validate
        self._apply = apply
        self._audit = audit
        self._note = note
        self._reloaded = reloaded
        self._one = asyncio.Lock()
        self.notices: list[str] = []
        self._record = self._recorded()
        self._state = self._saved()

    @property
    def settings(self) -> RunSettings:
        """Return the settings in force."""
        return with_leaves(self._first, self._state.leaves_now())

    @property
    def told(self) -> str:
        """Return a line that says which files the settings came from."""
        if not self._record:
            return "settings are those of an attached agent"
        files = self._files()
        return f"settings come from {', '.join(files)}" if files else "no configuration file: defaults count"

    def next_end(self) -> float | None:
        """Return when :meth:`tick` has something to do next (wall), or None."""
        return self._state.next_end()

    def shown(self, _asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return every setting in force, with its origin, secrets redacted."""
        return {"what": "settings", "settings": list(self._state.rows_now().values()), "files": self._files()}

    def _files(self) -> list[str]:
        return list(self._record.get("files", ()))

    # -- what people ask for

    async def reload(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read all sources anew; raises :class:`ConfigurationError` with all that is wrong, and has changed nothing."""
        async with self._one:
            before = self._state
            base = await self._ask(before.fixed)
            if before.timed:
                await self._ask(before.given())  # what is set for a while must fit to what comes, too
            settings, rows = _told(base)
            after = rebased(before, settings, rows, before.fixed)
            waiting = [one for one in compared(before.rows, rows) if not one.live]
            done = self._commit(after, asked, "reload", waiting)
            self._reloaded()
            return {**done, "warnings": list(base.get("warnings", ()))}

    async def set(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Set one setting, for ``for`` seconds or for the rest of the run.

        Raises :class:`NotFound` for no setting, :class:`UsageError` for one that needs a restart, and as
        :meth:`reload` for a value that does not fit.
        """
        seconds, value = seconds_of(asked), asked.get("value")
        if value is None or len(str(value)) > LONGEST_VALUE:
            raise UsageError("The parameter 'value' is missing or too long.", hint="roadworthy config set KEY VALUE")
        async with self._one:
            key = self._key(asked)
            before = self._state
            rest = before.without(key)
            if len(before.given()) >= MOST_SET and key not in before.given():
                raise UsageError(f"more than {MOST_SET} settings are set by hand", hint="roadworthy config unset KEY")
            answer = await self._ask({**rest.given(), key: value})
            settings, rows = _told(answer)
            if seconds is None:
                base = _told(await self._ask({**rest.fixed, key: value})) if rest.timed else (settings, rows)
                after = rebased(rest, *base, {**rest.fixed, key: value})
            else:
                after = laid_on(before, key, value, _clock.wall() + seconds, settings, rows)
            return self._commit(after, asked, "set", [])

    async def unset(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take back what was set by hand; the setting is then again what the sources say. Raises as :meth:`set`."""
        async with self._one:
            key = self._key(asked)
            if key not in self._state.given():
                raise NotFound(f"{key} was not set by hand", hint="roadworthy config show tells where it comes from.")
            fixed = {name: value for name, value in self._state.fixed.items() if name != key}
            rest = replace(self._state.without(key), fixed=fixed)
            settings, rows = _told(await self._ask(fixed))
            if rest.timed:
                await self._ask(rest.given())
            return self._commit(rebased(rest, settings, rows, fixed), asked, "unset", [])

    def tick(self, now: float) -> None:
        """End what is over at ``now`` (wall); while another change is being checked, the next call does."""
        if self._one.locked():
            return
        after, over = self._state.expired(now)
        if over:
            self._commit(after, {"actor": "roadworthy", "reason": "its time is over"}, "revert", [])

    # -- how

    def _key(self, asked: Mapping[str, Any]) -> str:
        name = str(asked.get("key") or "")
        row = self._state.rows.get(name)
        if row is None:
            raise NotFound(f"There is no setting {name[:80]!r}.", hint="roadworthy config show lists all of them.")
        if not row.get("live"):
            raise UsageError(
                f"{name} needs a restart",
                why="It cannot change while the program runs.",
                hint="Write it into roadworthy.toml and start the program anew.",
            )
        return name

    async def _ask(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._record:
            raise Unavailable(
                "the settings of this run are not known",
                why="Its agent was attached, so nobody has told them.",
                hint="A program that was started with `roadworthy run` has them.",
            )
        asked = {
            "root": self._record.get("root", self._first.cwd),
            "options": self._record.get("options", {}),
            "set": dict(given),
            "command": list(self._first.command),
        }
        answer = await self._validate(asked)
        if answer.get("ok") is not True:
            raise ConfigurationError(
                str(answer.get("what", "the configuration cannot be used")),
                why=str(answer.get("why", "")),
                hint=str(answer.get("hint", "")) or "Nothing was changed.",
            )
        return answer

    def _commit(self, after: Changes, asked: Mapping[str, Any], act: str, waiting: list[Change]) -> Mapping[str, Any]:
        """Save and take over; raises :class:`RoadworthyError` when that fails, everything is then as before."""
        before = self._state
        reason = reason_of(asked)
        write_atomically(self._run / FILE, json.dumps(after.to_json()))
        self._state = after
        try:
            self._apply(self.settings)
        except RoadworthyError:
            self._state = before
            self._apply(self.settings)
            write_atomically(self._run / FILE, json.dumps(before.to_json()))
            raise
        changed = compared(before.rows_now(), after.rows_now())
        actor = str(asked.get("actor") or "unknown")
        audited = True
        for one in changed:
            outcome = {"ok": True, "outcome": "changed", "detail": f"from {one.origin}"}
            record = {
                "at": round(_clock.wall(), 3), "actor": actor, "act": f"config {act}", "target": one.key,
                "reason": reason, "result": outcome, "old": one.old, "new": one.new, "source": one.origin,
            }  # fmt: skip
            audited = self._audit(record) and audited
            self._note(f"{one.key} is {one.new!r}, was {one.old!r} ({act} by {actor}; {one.origin})", "info")
        for one in waiting:
            self._note(f"{one.key} was changed and needs a restart", "warning")
        return {
            "what": _words(act, changed, waiting),
            "changed": [{"key": one.key, "old": one.old, "new": one.new, "origin": one.origin} for one in changed],
            "needs_restart": [one.key for one in waiting],
            "audited": audited,
        }

    # -- what is saved

    def _recorded(self) -> dict[str, Any]:
        try:
            raw = json.loads((self._run / RECORD).read_text("utf-8"))
        except (OSError, ValueError):
            return {}  # an attached program was started by somebody else
        return raw if isinstance(raw, dict) else {}

    def _saved(self) -> Changes:
        first = Changes.first(self._first, self._record.get("rows", ()))
        path = self._run / FILE
        try:
            made = Changes.from_json(json.loads(path.read_text("utf-8")))
            with_leaves(self._first, made.leaves_now())
        except FileNotFoundError:
            return first
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            self.notices.append(f"settings that were changed by hand could not be read and are lost ({error})")
            return first
        if made.leaves.keys() != leaves(self._first).keys():
            self.notices.append("settings that were changed by hand are of another version and are lost")
            return first
        return made


def _told(answer: Mapping[str, Any]) -> tuple[RunSettings, dict[str, Mapping[str, Any]]]:
    settings = RunSettings.from_json(json.dumps(answer["settings"]))
    return settings, {str(row["key"]): row for row in answer["rows"]}


def _words(act: str, changed: list[Change], waiting: list[Change]) -> str:
    parts = [f"{one.key} is {json.dumps(one.new)}" for one in changed]
    if waiting:
        needs = "needs" if len(waiting) == 1 else "need"
        parts.append(f"{', '.join(one.key for one in waiting)} {needs} a restart")
    return f"{act}: {'; '.join(parts)}" if parts else f"{act}: nothing is different"
