"""The live circuit breaker of a policy.

While it is closed a call touches an :class:`Era`, which stands for one stretch of time in which calls pass: it is found
in one attribute, a success makes two of its numbers change, and nothing is locked or written elsewhere. A call that
ends after the state has changed ends in the era in which it began, which nobody judges any more. Every change of state
is made by the pure functions of :mod:`roadworthy.resilience.states` on one shared word; the era only follows.
"""

from __future__ import annotations

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.errors import Temporary
from roadworthy.resilience import hook, states
from roadworthy.resilience.arguments import BadArgument, choice, duration
from roadworthy.resilience.chance import chance
from roadworthy.resilience.outcome import FAILURE, NEUTRAL, SLOW, SUCCESS
from roadworthy.resilience.rejected import BreakerOpen
from roadworthy.resilience.states import CLOSED, DISABLED, METRICS_ONLY, NAMES, OPEN
from roadworthy.resilience.store import Word
from roadworthy.resilience.window import FAR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from roadworthy.resilience.breaker import CircuitBreaker
    from roadworthy.resilience.hook import Meter
    from roadworthy.resilience.states import Values
    from roadworthy.types import StateWord

PATIENCE = 0.05
"""Seconds that a change of state may wait for others who change it; a rejection or a success never waits."""

_LOCKED_RETRY = 0.05
_SEEN = ([0], 0)


class Era:
    """One stretch of time in which calls pass: what a wrapper counts a success in.

    ``n``: successes; ``streak``: failures in a row; ``edge``: ns from which a success must be marked in the window;
    ``stamp``, ``owing``: what was last seen of a shared word, and that others wait for our successes.
    """

    __slots__ = (
        "breaker",
        "edge",
        "generation",
        "heard",
        "n",
        "owing",
        "paid",
        "seen",
        "stamp",
        "state",
        "streak",
        "window",
    )

    def __init__(self, breaker: Breaker | None, state: int, generation: int) -> None:
        self.breaker = breaker
        self.state = state
        self.generation = generation
        self.n = 0
        self.streak = 0
        self.window = None if breaker is None else breaker.settings.counting()
        self.edge = FAR if self.window is None else self.window.edge_ns
        self.stamp = 0
        self.owing = False
        self.paid = 0
        self.seen = 0
        self.heard = 0

    def settle(self, outcome: int, now_ns: int) -> None:
        """Note what a call came to that was admitted in this era."""
        if outcome == SUCCESS:
            if now_ns >= self.edge:
                self.mark(now_ns)
            self.n += 1
            self.streak = 0
            if self.owing:
                self.pay()
        elif outcome == FAILURE and self.breaker is not None:
            self.breaker.failed(self, now_ns)
        elif outcome == SLOW and self.breaker is not None:
            self.n += 1
            self.streak = 0
            self.breaker.slowed(self, now_ns)

    def mark(self, now_ns: int) -> None:
        """Tell the window how many successes there were before now."""
        if self.window is not None:
            self.edge = self.window.mark(self.n, now_ns)

    def pay(self) -> None:
        """Tell the other processes of our successes, since one of them has seen a failure; never waits."""
        self.owing = False
        if self.breaker is not None:
            self.breaker.pay(self)


class Probe:
    """A lease: one call that may try the other side while the breaker is half open."""

    __slots__ = ("begun_ns", "breaker", "generation", "place")

    def __init__(self, breaker: Breaker, generation: int, place: int, begun_ns: int) -> None:
        self.breaker = breaker
        self.generation = generation
        self.place = place
        self.begun_ns = begun_ns

    def settle(self, outcome: int, now_ns: int) -> None:
        """Give the lease back, and say what it has seen."""
        self.breaker.probed(self, outcome, now_ns)


class Breaker:
    """The breaker of one policy: its state, and what people may do to it. Made by the policy.

    ``era`` is what a wrapper looks at first: None unless every call may pass. ``watch`` is a sequence and a place in it
    whose number changes with every update of a shared word (scope host); in a process it never does.
    """

    __slots__ = (
        "__weakref__", "_alone_until", "_eras", "_shadow_until", "_word", "era", "held", "meter", "reason", "rules",
        "settings", "shared", "watch",
    )  # fmt: skip

    def __init__(self, settings: CircuitBreaker, meter: Meter) -> None:
        self.settings = settings
        self.meter = meter
        self.rules = settings.rules()
        self._word: StateWord = Word()
        self.shared = False
        self.watch: tuple[Any, int] = _SEEN
        self._eras: dict[int, Era] = {}
        self._alone_until = 0
        self._shadow_until = 0
        self.reason = ""
        self.held = 0
        self.era: Era | None = None
        self.refresh()

    # -- what people see and do

    @property
    def state(self) -> str:
        """How it stands: closed, open, half_open, forced_open, disabled or metrics_only."""
        return NAMES[self.code]

    @property
    def code(self) -> int:
        """The number of its state, as in ``resilience.breaker.state``."""
        return states.state_of(states.current(self._word.read()[:3], _clock.monotonic_ns())[0])

    @property
    def retry_after(self) -> float | None:
        """Seconds until an open breaker lets a call try; None when it is not open, or nobody knows."""
        now = _clock.monotonic_ns()
        a, b, _ = states.current(self._word.read()[:3], now)
        return max(0, b - now) / NS if states.state_of(a) in {OPEN, states.FORCED_OPEN} and b else None

    @property
    def forced_for(self) -> float | None:
        """Seconds for which a state that was forced stays; None when there is no end to it, or none was forced."""
        now = _clock.monotonic_ns()
        a, b, _ = states.current(self._word.read()[:3], now)
        return (b - now) / NS if states.state_of(a) >= states.FORCED_OPEN and b else None

    def force(self, state: str, for_: float | None = None, *, reason: str = "by hand") -> None:
        """Set its state: for ``for_`` seconds, then it is closed; without ``for_`` until it is reset or set again.

        "open", "half_open" and "closed" go on from there as ever; "open" stays for ``for_``, or as long as at first.
        The others stay: "forced_open" lets nothing pass, "disabled" everything, "metrics_only" everything while it
        tells when it would have opened. Raises :class:`~roadworthy.resilience.arguments.BadArgument`, and
        :class:`~roadworthy.errors.Temporary` when other processes hold its shared state.
        """
        code = NAMES.index(choice("state", state, *NAMES))
        if for_ is not None:
            if code in {CLOSED, states.HALF_OPEN}:
                raise BadArgument("for_", for_, f"None for {state!r}")
            for_ = duration("for_", for_)
        now = _clock.monotonic_ns()
        until = 0 if for_ is None else now + int(for_ * NS)
        if code == states.HALF_OPEN:
            until = now
        elif code == OPEN and not until:
            until = now + self.rules.shortest_ns
        if self._update(lambda *values: states.forced(values, code, until), reason, patience=1.0) is None:
            raise Temporary(
                f"the breaker of {self.meter.policy} was not set",
                why="Other processes are changing its state.",
                hint="Try again.",
            )

    def reset(self, *, reason: str = "by hand") -> None:
        """Close it, with an empty window. Raises as :meth:`force`."""
        self.force("closed", reason=reason)

    def snapshot(self) -> dict[str, object]:
        """Return how it stands: state, reason, retry_after (s), and what its window holds."""
        now = _clock.monotonic_ns()
        values = states.current(self._word.read()[:3], now)
        state = states.state_of(values[0])
        calls = failures = slow = row = None
        era = self._eras.get(states.generation_of(values[0]))
        if state == CLOSED and self.shared:
            (calls, failures, slow), row = states.totals(values), states.tally_of(values[0])
        elif state in {CLOSED, METRICS_ONLY} and era is not None and era.window is not None:
            (calls, failures, slow), row = era.window.totals(era.n, now), era.streak
        return {
            "state": NAMES[state],
            "reason": self.reason,
            "retry_after": self.retry_after,
            "calls": calls,
            "failures": failures,
            "slow": slow,
            "failures_in_row": row,
            "failure_rate": None if not calls else (failures or 0) / calls,
            "good_probes": states.tally_of(values[0]) if state == states.HALF_OPEN else None,
            "opened": states.opened_of(values[0]),
            "generation": states.generation_of(values[0]),
            "shared": self.shared,
        }

    # -- what a call does

    def look(self) -> Era | None:
        """Return the era in which a call may begin at once; None when it has to ask :meth:`admit`."""
        self.refresh()
        return self.era

    def admit(self, now_ns: int) -> Era | Probe:
        """Return what a call that begins now is to settle; raises BreakerOpen when it must not begin."""
        era = self.era
        if era is not None:
            sequence, index = self.watch
            if sequence[index] == era.stamp:
                return era
        a, b, c, _ = self._word.read()
        values = (a, b, c)
        what, n, made = states.admission(values, now_ns, self.rules)
        if made is not values:
            found = (what, n, values)

            def step(a: int, b: int, c: int) -> Values:
                nonlocal found
                what, n, made = states.admission((a, b, c), now_ns, self.rules)
                found = (what, n, made)
                return made

            if self._update(step, "its break is over") is None:
                raise self._rejection(states.state_of(a), int(_LOCKED_RETRY * NS))
            what, n, values = found
        if what == states.REJECT:
            raise self._rejection(states.state_of(values[0]), n)
        if what == states.PROBE:
            return Probe(self, states.generation_of(values[0]), n, now_ns)
        if now_ns < self._alone_until:
            raise self._rejection(OPEN, self._alone_until - now_ns)
        self.refresh()
        return self.era or self._era_of(values[0])

    def failed(self, era: Era, now_ns: int) -> None:
        """Judge a failure of a call that began in ``era``."""
        if era.state == DISABLED or era.window is None:
            return
        era.streak = row = era.streak + 1
        if self.shared and era.state == CLOSED:
            self._share(era, now_ns, 1, 0)
            return
        era.window.failed(era.n, now_ns)
        self._judge(era, now_ns, row)

    def slowed(self, era: Era, now_ns: int) -> None:
        """Judge a slow call that began in ``era``."""
        if era.state == DISABLED or era.window is None:
            return
        if self.shared and era.state == CLOSED:
            self._share(era, now_ns, 0, 1)
            return
        if now_ns >= era.edge:
            era.edge = era.window.mark(era.n - 1, now_ns)
        era.window.slowed(era.n, now_ns)
        self._judge(era, now_ns, 0)

    def probed(self, probe: Probe, outcome: int, now_ns: int) -> None:
        """Take in what a probe has seen."""
        good = None if outcome == NEUTRAL else outcome == SUCCESS
        held = now_ns - probe.begun_ns < self.rules.lease_ns
        luck = chance()
        self._update(
            lambda *values: states.probed(
                values, now_ns, probe.generation, probe.place, held=held, good=good, rules=self.rules, luck=luck
            ),
            "its probes were good" if good else "a probe was slow" if outcome == SLOW else "a probe failed",
        )

    def pay(self, era: Era) -> None:
        """Add the successes of an era to the shared window, if nobody else is changing it."""
        n = era.n
        owed = n - era.paid
        era.paid = n
        now = _clock.monotonic_ns()
        if (
            owed > 0
            and self._update(
                lambda *values: states.counted(values, now, era.generation, owed, 0, 0, self.rules), "", patience=0.0
            )
            is None
        ):
            era.paid -= owed
            era.owing = True

    # -- the state

    def attach(self) -> None:
        """Use the state that all processes share, if this breaker is to and there is one."""
        if self.settings.scope != "host" or self.shared:
            return
        store = hook.shared_store()
        word = None if store is None else hook.told("word", store.word, f"breaker:{self.meter.policy}")
        if word is None:
            return
        watch = getattr(word, "watch", None)
        self.watch = _Watch(word).pair() if watch is None else watch()
        self._word = word
        self._eras = {}
        self.shared = True
        self.refresh()

    def refresh(self) -> None:
        """Follow the word: after this, ``era`` is what it says."""
        while True:
            sequence, index = self.watch
            stamp = sequence[index]
            values = self._word.read()
            a = values[0]
            era = self._era_of(a)
            if self.shared and era.state == CLOSED:
                failures = states.totals(values[:3])[1]
                if stamp != era.stamp and not era.owing:
                    era.seen = era.n  # what succeeded until now came before the failures of others that we hear of now
                era.owing = era.owing or failures != era.heard or states.tally_of(a) > 0
                era.heard = failures
                era.stamp = stamp
            timed = era.state in {DISABLED, METRICS_ONLY} and values[1]
            passing = era.state in {CLOSED, DISABLED, METRICS_ONLY} and not timed and not self.held
            if _clock.monotonic_ns() < self._alone_until:
                passing = False
            else:
                self._alone_until = 0
            self.era = era if passing else None
            era.stamp = stamp
            # Whoever sets it last has seen the newest: another thread may have been between reading and setting.
            if self._word.read()[0] == a and sequence[index] == stamp:
                return

    def hold(self, by: int) -> None:
        """Send every call the long way round (+1) until it is taken back (-1)."""
        self.held += by
        self.refresh()

    def _era_of(self, a: int) -> Era:
        generation = states.generation_of(a)
        found = self._eras.get(generation)
        if found is None:
            found = self._eras.setdefault(generation, Era(self, states.state_of(a), generation))
            for old in list(self._eras):
                if old != generation:
                    self._eras.pop(old, None)
        return found

    def _judge(self, era: Era, now_ns: int, row: int) -> None:
        if era.window is None:
            return
        why = states.verdict(*era.window.totals(era.n, now_ns), row, self.rules)
        if not why:
            return
        if era.state == METRICS_ONLY:
            self._shadow(era, now_ns, why)
            return
        luck = chance()
        self._update(lambda *values: states.tripped(values, now_ns, era.generation, self.rules, luck), why)

    def _share(self, era: Era, now_ns: int, failures: int, slow: int) -> None:
        """Add a failure or a slow call, and our successes, to the shared window, and judge it."""
        sequence, index = self.watch
        if sequence[index] != era.stamp:
            self.refresh()
        between = era.n > era.seen
        n = era.n
        owed = n - era.paid
        era.paid = n
        why, luck = "", chance()
        row = era.streak

        def step(a: int, b: int, c: int) -> Values:
            nonlocal why
            made = states.counted(
                (a, b, c), now_ns, era.generation, owed + failures, failures, slow, self.rules, between=between
            )
            same = states.generation_of(a) == era.generation and states.state_of(a) == CLOSED
            why = states.verdict(*states.totals(made), states.tally_of(made[0]), self.rules) if same else ""
            return states.tripped(made, now_ns, era.generation, self.rules, luck) if why else made

        if self._update(step, lambda: why) is not None:
            era.heard += failures
            era.seen = n
            return
        era.paid -= owed
        # Nobody could be told. A row of our own is enough to stop, here and for the shortest break.
        if failures and row >= (self.rules.consecutive or self.rules.min_calls):
            self._alone_until = now_ns + self.rules.shortest_ns
            self.refresh()

    def _shadow(self, era: Era, now_ns: int, why: str) -> None:
        """Tell that it would have opened, once in the time for which it would have been open, and begin anew."""
        era.window = self.settings.counting()
        era.edge = era.window.edge_ns
        era.n = era.streak = 0
        if now_ns >= self._shadow_until:
            self._shadow_until = now_ns + self.rules.shortest_ns
            fields = {"would": "open", "policy": self.meter.policy}
            self.meter.changed("breaker", "metrics_only", "metrics_only", f"would open: {why}", fields)

    def _update(
        self, step: Callable[[int, int, int], Values], reason: str | Callable[[], str], patience: float = PATIENCE
    ) -> Values | None:
        """Change the word and follow it; tell of it when the state has changed. None: others held it for too long."""
        before = 0

        def noted(a: int, b: int, c: int) -> Values:
            nonlocal before
            before = a
            return step(a, b, c)

        made = self._word.update(noted, patience)
        if made is None:
            return None
        if states.generation_of(made[0]) != states.generation_of(before):
            self.reason = reason if isinstance(reason, str) else reason()
            self.refresh()
            self._tell(states.state_of(before), states.state_of(made[0]), made[1])
        return made

    def _tell(self, before: int, after: int, until: int) -> None:
        fields: dict[str, object] = {}
        if after in {OPEN, states.FORCED_OPEN} and until:
            fields["open_for"] = round(max(0, until - _clock.monotonic_ns()) / NS, 3)
        elif after in {DISABLED, METRICS_ONLY} and until:
            fields["for"] = round(max(0, until - _clock.monotonic_ns()) / NS, 3)
        self.meter.changed("breaker", NAMES[before], NAMES[after], self.reason, fields)

    def _rejection(self, state: int, wait_ns: int) -> BreakerOpen:
        name = self.meter.policy
        return BreakerOpen(
            f"{name} was not called: its breaker is {NAMES[state]}",
            policy=name,
            retry_after=None if wait_ns < 0 else wait_ns / NS,
            why=self.reason,
        )

    def __repr__(self) -> str:
        return f"<breaker of {self.meter.policy}: {self.state}>"


class _Watch:
    """Stands in for the stamp of a word that has none to look at: its time of update."""

    __slots__ = ("_word",)

    def __init__(self, word: StateWord) -> None:
        self._word = word

    def pair(self) -> tuple[_Watch, int]:
        """Return what :attr:`Breaker.watch` holds."""
        return self, 0

    def __getitem__(self, index: int) -> int:
        return self._word.read()[3]
