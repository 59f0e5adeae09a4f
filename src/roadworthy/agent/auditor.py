"""What the agent writes into the audit trail: everything that people had done, and whom it refused.

Acts on policies, services and features (``acts.py``) hand in their own records; here are the rest: what comes over the
agent's socket (whose user is the kernel's word), over the operations API, and by a signal to the keeper. Refusals are
written once a minute for each kind and address, and never more than so many, so that nobody fills the disk by asking.
"""

from __future__ import annotations

import inspect
import pwd
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from roadworthy import _clock
from roadworthy.errors import RoadworthyError
from roadworthy.log import trail

if TYPE_CHECKING:
    from pathlib import Path

    from roadworthy.agent.control import Verb

PEER: Final = "peer"
"""Key of a message under which the socket says who sent it: ``{"pid", "uid"}``."""

REFUSED_EVERY: Final = 60.0
REFUSED_MOST: Final = 20
"""Refusals that are written in that time, of all kinds and addresses together."""

_CAUSES_MOST: Final = 256


class Auditor:
    """Appends to the trail in ``state``; ``attempt`` runs what may fail and shows the failure in the verdict."""

    def __init__(
        self,
        state: Path,
        app: str,
        attempt: Callable[[str, Callable[[], object]], bool],
        *,
        wall: Callable[[], float] = _clock.wall,
    ) -> None:
        self._state = state
        self._app = app
        self._attempt = attempt
        self._wall = wall
        self._refused: dict[tuple[str, str], tuple[float, int]] = {}
        self._window = (0.0, 0)

    def record(self, record: Mapping[str, object]) -> bool:
        """Append one record; False when it could not be written, which the verdict then shows."""
        return self._attempt("audit", lambda: trail.append(self._state, record))

    def done(self, act: str, target: str, actor: str, *, ok: bool, detail: str = "", **more: object) -> bool:
        """Append the record of an act that was begun, or refused."""
        result = {"ok": ok, "outcome": "begun" if ok else "failed", "detail": detail}
        at = round(self._wall(), 3)
        return self.record({"at": at, "actor": actor, "act": act, "target": target, "result": result, **more})

    def verb(self, act: str, verb: Verb) -> Verb:
        """Return a verb of the socket that is written down: who asked, what for, and what became of it."""

        async def audited(message: Mapping[str, Any]) -> Mapping[str, Any]:
            actor, target = actor_of(message.get(PEER)), self._target(act, message)
            try:
                found = verb(message)
                answer = await found if inspect.isawaitable(found) else found
            except RoadworthyError as error:
                self.done(act, target, actor, ok=False, detail=error.what)
                raise
            changed = {key: answer[key] for key in ("old", "new") if key in answer}
            self.done(act, target, actor, ok=True, detail=str(answer.get("what", "")), **changed)
            return answer

        return audited

    def view(self, act: str, view: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]) -> Any:  # noqa: ANN401 - the same
        """Return what the operations API asks for, written down like :meth:`verb`."""

        async def audited(asked: Mapping[str, Any]) -> Mapping[str, Any]:
            actor, target = str(asked.get("actor") or "unknown"), self._target(act, asked)
            try:
                answer = await view(asked)
            except RoadworthyError as error:
                self.done(act, target, actor, ok=False, detail=error.what)
                raise
            self.done(act, target, actor, ok=True, detail=str(answer.get("what", "")))
            return answer

        return audited

    def signalled(self, what: str, number: object) -> None:
        """Append that the keeper got a signal which means ``what``; who sent it the system does not say."""
        if isinstance(number, int):
            self.done(what, self._app, f"signal {_signal_name(number)}", ok=True)

    def refused(self, code: str, where: str, client: str) -> None:
        """Append that somebody was refused, unless the same was written within the last minute."""
        now, key = self._wall(), (code, client)
        last, held = self._refused.get(key, (0.0, 0))
        began, count = self._window
        if now - began >= REFUSED_EVERY:
            began, count = now, 0
        if now - last < REFUSED_EVERY or count >= REFUSED_MOST:
            if key in self._refused or len(self._refused) < _CAUSES_MOST:
                self._refused[key] = (last, held + 1)
            return
        self._window = (began, count + 1)
        if len(self._refused) >= _CAUSES_MOST:
            self._refused.clear()
        self._refused[key] = (now, 0)
        data = {"since_the_last": held} if held else {}
        self.record(
            {
                "at": round(now, 3), "actor": client, "act": "refused", "target": where, "severity": "WARNING",
                "event_type": code, "result": {"ok": False, "outcome": "refused", "detail": code}, "data": data,
            }
        )  # fmt: skip

    def _target(self, act: str, asked: Mapping[str, Any]) -> str:
        if act == "log-level":
            return str(asked.get("logger") or "the root logger")
        slot = asked.get("slot")
        return self._app if slot is None else f"worker-{slot}"


def actor_of(peer: object) -> str:
    """Return who is at the other end of the socket: the user that the kernel names, and the process."""
    if not isinstance(peer, Mapping):
        return "unknown"
    uid, pid = peer.get("uid"), peer.get("pid")
    return f"command line, {user_name(uid)} (uid {uid}), pid {pid}" if isinstance(uid, int) else "unknown"


def user_name(uid: int) -> str:
    """Return the name of a user, the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
