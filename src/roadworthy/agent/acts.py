"""What people may have done to policies, services and features: each act checked, cooled down, audited, told.

Recover and restart are different acts (CONFLICTS C-13): *recover* has the processes that registered the service run its
recovery procedure; *restart* has the supervisor replace their workers. Recover goes on to restart when it failed and
the service was registered for that. All acts return the same :class:`Result`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from roadworthy import _clock
from roadworthy.agent.asked import Result, TooSoon, name_of, reason_of, seconds_of, unknown
from roadworthy.agent.switches import FEATURES, ON, POLICIES, RESET, SERVICES, Switches
from roadworthy.errors import Unavailable, UsageError
from roadworthy.log.redact import redact
from roadworthy.types import BreakerState, ServiceSummary
from roadworthy.watch.policies import Held
from roadworthy.watch.words import span

if TYPE_CHECKING:
    from roadworthy.agent.resilience import Apps, Declaration, Resilience

FORCIBLE: Final = (BreakerState.FORCED_OPEN, BreakerState.DISABLED, BreakerState.METRICS_ONLY)
RECOVER_TIMEOUT: Final = 30.0
COOLDOWN: Final = {"recover": 10.0, "restart": 30.0}
"""Seconds between two of these acts on one service."""

WORKER: Final = "worker-"
_SLOT: Final = re.compile("0|[1-9][0-9]{0,8}")
"""One way to write a number: each worker has one name, and so one cooldown."""

NO_KEEPER = "a restart is not possible: the keeper has died"

Act = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class Acts:
    """Does what is asked.

    ``request`` has workers restarted or reloaded (None: there is no keeper that could), ``slots`` are those there are.
    """

    def __init__(
        self,
        picture: Resilience,
        switches: Switches,
        apps: Apps,
        *,
        request: Callable[[str, int | None], bool] | None,
        slots: Callable[[], Collection[int]],
        audit: Callable[[Mapping[str, object]], bool],
        note: Callable[[str, str], None],
    ) -> None:
        self._picture = picture
        self._switches = switches
        self._apps = apps
        self._request = request
        self._slots = slots
        self._audit = audit
        self._note = note
        self._busy: set[str] = set()

    def table(self) -> dict[str, Act]:
        """Return the acts by the names under which the views ask for them."""
        return {
            "recover": self.recover,
            "restart_service": self.restart,
            "degrade": self.degrade,
            "restore": self.restore,
            "force": self.force,
            "reset": self.reset,
            "feature_off": self.off,
            "feature_on": self.on,
        }

    # -- services

    async def recover(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run a service's recovery procedure in every process that has one; go on to restart when that is allowed.

        Raises :class:`NotFound`, :class:`TooSoon`, or :class:`Unavailable` when nothing could be tried.
        """
        service, reason = self._service(asked), reason_of(asked)
        able = [one for one in self._declared(service.name) if one.told.get("recover") is True]
        may_restart = service.restart and self._request is not None
        if not able and not may_restart:
            raise Unavailable(
                f"service {service.name} cannot be recovered",
                why="No connected process has registered a recovery procedure for it.",
                hint="Register one: its recover() is what is run then.",
            )
        with self._once("recover", service.name):
            began = _clock.monotonic()
            answers = await asyncio.gather(*(self._ask(one) for one in able))
            took = _clock.monotonic() - began
            ok = bool(answers) and all(answer["ok"] for answer in answers)
            made = _result("recover", service.name, "recovered" if ok else "failed", _said(answers), ok=ok)
            if not ok and may_restart:
                made = self._restart_by(service, made)
            return self._done(replace(made, took=round(took, 3), processes=tuple(answers)), asked, reason)

    async def restart(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have the workers of a service restarted; without such a declaration the program, worker by worker.

        ``worker-0`` names the worker of slot 0. Raises as :meth:`recover`.
        """
        name, reason = name_of(asked), reason_of(asked)
        if self._request is None:
            raise Unavailable(
                f"{name[:80]} cannot be restarted",
                why="There is no keeper that could do it.",
                hint="A program that was started with `roadworthy run` has one.",
            )
        slot = name.removeprefix(WORKER)
        if name.startswith(WORKER) and _SLOT.fullmatch(slot):
            if int(slot) not in self._slots():
                raise unknown("worker", name, [f"{WORKER}{number}" for number in sorted(self._slots())])
            with self._once("restart", name):
                begun = self._request("restart", int(slot))
                words = "the worker is stopped and started" if begun else NO_KEEPER
                made = _result("restart", name, "begun" if begun else "failed", words, ok=begun)
                return self._done(made, asked, reason)
        service = self._service(asked)
        with self._once("restart", service.name):
            return self._done(self._restart_by(service, _result("restart", name, "", "", ok=False)), asked, reason)

    def _restart_by(self, service: ServiceSummary, before: Result) -> Result:
        """Ask the supervisor; several workers are replaced one after another, so that the others serve meanwhile."""
        assert self._request is not None  # noqa: S101 - both callers have looked
        may = [one.slot for one in self._declared(service.name) if one.told.get("restart") is True]
        slots = sorted({slot for slot in may if slot is not None})
        if len(slots) == 1:
            begun, words = self._request("restart", slots[0]), f"worker {slots[0]} is stopped and started"
        elif slots:
            begun = all(self._request("reload", slot) for slot in slots)
            words = f"workers {', '.join(map(str, slots))} are replaced one after another"
        else:
            begun, words = self._request("reload", None), "the program's workers are replaced one after another"
        said = words if begun else NO_KEEPER
        if before.detail:
            said = f"recovery failed ({before.detail}); {said}"
        outcome = "begun" if begun else "failed"
        return replace(before, ok=begun, outcome=outcome, detail=said, escalated=before.act == "recover")

    async def degrade(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Hold a service degraded, for ``for`` seconds or until :meth:`restore`."""
        return self._hold(SERVICES, self._service(asked).name, "degrade", "degraded", asked)

    async def restore(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """End the degradation of a service, whoever began it (C-74)."""
        return self._release(SERVICES, self._service(asked).name, "restore", ON, asked)

    # -- policies and features

    async def force(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Hold the breaker of a policy in a state; raises :class:`UsageError` for a state that cannot be forced."""
        name = self._policy(asked)
        states = [state.value for state in FORCIBLE]
        if asked.get("state") not in states:
            given = str(asked.get("state") or "")[:80]
            raise UsageError(
                f"The parameter 'state' cannot be {given!r}.",
                hint=f"It is one of {', '.join(states)}; reset ends what was forced.",
            )
        return self._hold(POLICIES, name, "force", str(asked["state"]), asked)

    async def reset(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """End what was forced, and close the breaker."""
        return self._release(POLICIES, self._policy(asked), "reset", RESET, asked)

    async def off(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Switch a feature off, for ``for`` seconds or until :meth:`on`."""
        return self._hold(FEATURES, self._feature(asked), "off", "off", asked)

    async def on(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Switch a feature on again, whoever switched it off."""
        return self._release(FEATURES, self._feature(asked), "on", ON, asked)

    def _hold(self, kind: str, name: str, act: str, state: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        now, reason, seconds = _clock.wall(), reason_of(asked), seconds_of(asked)
        until = None if seconds is None else now + seconds
        self._switches.set(kind, name, Held(state, reason, now, until))
        time = "until it is undone" if seconds is None else f"for {seconds:g} s"
        words = f"{state.replace('_', ' ')} {time}"
        return self._done(replace(_result(act, name, "held", words, ok=True), until=until), asked, reason)

    def _release(self, kind: str, name: str, act: str, word: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        reason = reason_of(asked)
        was = self._switches.release(kind, name, word, _clock.wall())
        words = "given back" if was else "told to the program; people did not hold it"
        return self._done(_result(act, name, "released", words, ok=True), asked, reason)

    # -- what all acts share

    def _service(self, asked: Mapping[str, Any]) -> ServiceSummary:
        name = name_of(asked)
        for one in self._picture.services:
            if one.name == name:
                return one
        raise unknown("service", name, [one.name for one in self._picture.services])

    def _policy(self, asked: Mapping[str, Any]) -> str:
        name = name_of(asked)
        for one in self._picture.policies:
            if one.name == name:
                if one.breaker is None:
                    raise UsageError(
                        f"The policy {name!r} has no breaker.",
                        hint="Only a policy with a breaker can be forced or reset.",
                    )
                return name
        raise unknown("policy", name, [one.name for one in self._picture.policies])

    def _feature(self, asked: Mapping[str, Any]) -> str:
        name = name_of(asked)
        known = [one.name for one in self._picture.features]
        if name not in known:
            raise unknown("feature", name, known)
        return name

    def _declared(self, service: str) -> list[Declaration]:
        return [one for one in self._apps.declared(SERVICES) if one.name == service]

    async def _ask(self, one: Declaration) -> dict[str, Any]:
        told = {"pid": one.pid, "slot": one.slot}
        try:
            answer = await self._apps.recover(one.pid, str(one.told.get("name")), RECOVER_TIMEOUT)
        except Unavailable as error:
            return {**told, "ok": False, "detail": error.what, "took": None}
        took = answer.get("took")
        detail = redact(str(answer.get("detail", "")))[:500]
        return {
            **told,
            "ok": answer.get("ok") is True,
            "detail": detail,
            "took": took if isinstance(took, int | float) else None,
        }

    def _once(self, act: str, name: str) -> _Once:
        key, now = f"{act}/{name}", _clock.wall()
        if key in self._busy:
            raise TooSoon(f"{act} of {name} is under way", retry_after=COOLDOWN[act], why="It has not ended yet.")
        last = self._switches.last(key)
        left = 0.0 if last is None or last > now else last + COOLDOWN[act] - now
        if left > 0:
            why = f"It was done {span(COOLDOWN[act] - left)} ago; {span(COOLDOWN[act])} lie between two."
            raise TooSoon(f"{act} of {name} was done a moment ago", retry_after=left, why=why)
        self._switches.mark(key, now)
        return _Once(self._busy, key)

    def _done(self, made: Result, asked: Mapping[str, Any], reason: str) -> Mapping[str, Any]:
        actor = str(asked.get("actor") or "unknown")
        record = {
            "at": made.at, "actor": actor, "act": made.act, "target": made.target, "reason": reason,
            "result": {"ok": made.ok, "outcome": made.outcome, "detail": made.detail},
        }  # fmt: skip
        audited = self._audit(record)
        because = f" ({reason})" if reason else ""
        words = f"{made.act} of {made.target}{because} by {actor}: {made.outcome}, {made.detail}"
        self._note(words, "info" if made.ok and made.act not in _LOUD else "warning")
        return asdict(replace(made, audited=audited))


_LOUD: Final = frozenset({"force", "degrade", "off", "restart"})


class _Once:
    """Keeps a second act of the same kind away while the first one runs."""

    def __init__(self, busy: set[str], key: str) -> None:
        self._busy, self._key = busy, key

    def __enter__(self) -> None:
        self._busy.add(self._key)

    def __exit__(self, *_error: object) -> None:
        self._busy.discard(self._key)


def _result(act: str, target: str, outcome: str, detail: str, *, ok: bool) -> Result:
    return Result(ok, act, target, outcome, detail, round(_clock.wall(), 3))


def _said(answers: Sequence[Mapping[str, Any]]) -> str:
    """Return what the processes answered, the failures first, each different answer once."""
    ordered = sorted(answers, key=lambda answer: answer["ok"])
    details = list(dict.fromkeys(str(answer["detail"]) for answer in ordered if answer["detail"]))
    if not answers:
        return "it has no recovery procedure"
    return "; ".join(details[:3]) or f"{sum(answer['ok'] for answer in answers)} of {len(answers)} processes say ok"
