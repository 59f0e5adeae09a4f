"""How a circuit breaker goes from state to state: pure functions of three whole numbers, the rules and ``now``.

The numbers are what a :class:`~roadworthy.types.StateWord` holds, so that the threads of a process and the processes of
a host go through the same code. ``a`` is (bits, lowest first)::

    state 3 | opened in a row 6 | tally 12 | slot 20 | generation 22

====================================== ================== ========================= ==========================
state                                   tally              b                         c
====================================== ================== ========================= ==========================
closed                                  failures in a row  this half of the window   the half before it
open                                    0                  ns when it may be tried   0
half_open                               good probes        ns of the last change     leases
forced_open, disabled, metrics_only     0                  ns when it ends, 0 never  0
====================================== ================== ========================= ==========================

Each change of state begins a new generation, and nothing that a call of an older one comes to changes anything.

A half of a window is three counts of 21 bits: calls, failures, slow ones. It is used where a window is shared by
processes; inside one process :mod:`roadworthy.resilience.window` counts exactly.

The leases share 60 bits evenly: each is its age plus one, in ticks as fine as fit (nanoseconds for one or two probes, a
30th of its length for twelve); 0 is free. A probe that is not back by the end of its lease is taken for lost, so that
another may go; whoever held it may still tell what it saw, in the same generation.
"""

from __future__ import annotations

CLOSED, OPEN, HALF_OPEN, FORCED_OPEN, DISABLED, METRICS_ONLY = range(6)
NAMES = ("closed", "open", "half_open", "forced_open", "disabled", "metrics_only")

MOST_PROBES = 12
MOST_TALLY = (1 << 12) - 1
MOST_COUNT = (1 << 21) - 1

_MOST_OPENED = 63
_SLOT_MASK = (1 << 20) - 1
_GENERATION_MASK = (1 << 22) - 1
_LEASES_BITS = 60

TYPE_CHECKING = False
if TYPE_CHECKING:
    Values = tuple[int, int, int]


class Rules:
    """What the transitions go by, in whole numbers and shares; made once from a breaker's settings."""

    __slots__ = (
        "consecutive", "failure_rate", "half_calls", "half_ns", "lease_bits", "lease_ns", "lease_ticks", "longest_ns",
        "min_calls", "probes", "shortest_ns", "slow_rate", "successes", "tick_ns",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - a record; every field is named where it is made
        self,
        *,
        failure_rate: float | None = 0.5,
        min_calls: int = 20,
        consecutive: int | None = None,
        slow_rate: float | None = None,
        half_calls: int = 50,
        half_ns: int = 0,
        shortest_ns: int = 5_000_000_000,
        longest_ns: int = 60_000_000_000,
        probes: int = 2,
        successes: int = 2,
        lease_ns: int = 5_000_000_000,
    ) -> None:
        self.failure_rate = failure_rate
        self.min_calls = min_calls
        self.consecutive = consecutive
        self.slow_rate = slow_rate
        self.half_calls = half_calls
        self.half_ns = half_ns
        self.shortest_ns = shortest_ns
        self.longest_ns = longest_ns
        self.probes = probes
        self.successes = successes
        self.lease_ns = lease_ns
        self.lease_bits = min(40, _LEASES_BITS // probes)
        most = min(lease_ns, (1 << self.lease_bits) - 2)
        self.tick_ns = -(-lease_ns // most)
        self.lease_ticks = -(-lease_ns // self.tick_ns)


# -- the parts of the first number


def state_of(a: int) -> int:
    """Return the state."""
    return a & 7


def opened_of(a: int) -> int:
    """Return how often it opened since it was last closed."""
    return a >> 3 & _MOST_OPENED


def tally_of(a: int) -> int:
    """Return the failures in a row (closed) or the good probes (half_open)."""
    return a >> 9 & MOST_TALLY


def slot_of(a: int) -> int:
    """Return which half of a window of time is being counted."""
    return a >> 21 & _SLOT_MASK


def generation_of(a: int) -> int:
    """Return the generation, which grows by one with each change of state."""
    return a >> 41


def packed(state: int, opened: int = 0, tally: int = 0, slot: int = 0, generation: int = 0) -> int:
    """Return the first number; what does not fit stays at its most, slot and generation begin anew."""
    return (
        state
        | min(opened, _MOST_OPENED) << 3
        | min(tally, MOST_TALLY) << 9
        | (slot & _SLOT_MASK) << 21
        | (generation & _GENERATION_MASK) << 41
    )


def counts(word: int) -> tuple[int, int, int]:
    """Return calls, failures and slow calls of a half of a window."""
    return word & MOST_COUNT, word >> 21 & MOST_COUNT, word >> 42


def packed_counts(calls: int, failures: int, slow: int) -> int:
    """Return a half of a window; counts that do not fit are halved until they do, which keeps their proportions."""
    while calls > MOST_COUNT:
        calls, failures, slow = calls >> 1, failures >> 1, slow >> 1
    return calls | failures << 21 | slow << 42


# -- what a call may do


PASS, REJECT, PROBE = range(3)


def admission(values: Values, now: int, rules: Rules) -> tuple[int, int, Values]:
    """Return what a call may do at ``now`` (PASS, REJECT, PROBE), a number, and the new values.

    The number is for REJECT the nanoseconds until it may be asked again (-1: nobody knows), for PROBE the place of the
    lease. The values are the same object when nothing changes.
    """
    values = current(values, now)
    a, b, c = values
    state = a & 7
    if state == OPEN:
        if now < b:
            return REJECT, b - now, values
        a, b, c = changed(a, HALF_OPEN, opened_of(a)), now, 0
    elif state == FORCED_OPEN:
        return REJECT, b - now if b else -1, values
    elif state != HALF_OPEN:
        return PASS, 0, values
    b, c = aged(b, c, now, rules)
    bits = rules.lease_bits
    ages = [c >> place * bits & (1 << bits) - 1 for place in range(rules.probes)]
    if 0 in ages:
        place = ages.index(0)
        return PROBE, place, (a, b, c | 1 << place * bits)
    # A tick more than its length: its age is counted from the tick in which it was given.
    return REJECT, max(1, (rules.lease_ticks + 2 - max(ages)) * rules.tick_ns - (now - b)), values


def current(values: Values, now: int) -> Values:
    """Return the values with a state that was forced for a time taken back when that is over: then it is closed."""
    a, b, _ = values
    if a & 7 >= FORCED_OPEN and b and now >= b:
        return changed(a, CLOSED, 0), 0, 0
    return values


def changed(a: int, state: int, opened: int) -> int:
    """Return the first number of a new state: the next generation, with nothing counted."""
    return packed(state, opened, 0, 0, generation_of(a) + 1)


def aged(b: int, c: int, now: int, rules: Rules) -> tuple[int, int]:
    """Return the leases as they are at ``now``: older, and free where their time is over."""
    ticks = (now - b) // rules.tick_ns if now > b else 0
    if ticks == 0:
        return b, c
    kept = 0
    for place in range(rules.probes):
        age = c >> place * rules.lease_bits & (1 << rules.lease_bits) - 1
        if age and age + ticks <= rules.lease_ticks + 1:
            kept |= age + ticks << place * rules.lease_bits
    return b + ticks * rules.tick_ns, kept


# -- what a call came to


def tripped(values: Values, now: int, generation: int, rules: Rules, luck: float, *, after: int = CLOSED) -> Values:
    """Return the values of an open breaker if it is still in the generation (and state) in which it was judged so."""
    a = values[0]
    if generation_of(a) != generation or a & 7 != after:
        return values
    opened = opened_of(a) + 1
    return changed(a, OPEN, opened), now + break_ns(opened, rules, luck), 0


def break_ns(opened: int, rules: Rules, luck: float) -> int:
    """Return how long it stays open the ``opened``-th time in a row.

    Twice as long each time, from the shortest to the longest break; up to a quarter more, by ``luck`` from 0 to 1, so
    that those who were shut out together do not all come back at once (at the longest: up to a fifth less).
    """
    most = rules.longest_ns
    exact = rules.shortest_ns << min(opened - 1, _MOST_OPENED)
    if exact < most:
        return min(most, exact + int(exact * 0.25 * luck))
    return max(rules.shortest_ns, most - int(most * 0.2 * luck))


def probed(
    values: Values, now: int, generation: int, place: int, *, held: bool, good: bool | None, rules: Rules, luck: float
) -> Values:
    """Return the values after a probe came back: ``good`` (None: it says nothing). ``held``: its lease still ran.

    Enough good ones in this generation close the breaker, a bad one opens it again.
    """
    a, b, c = values
    if generation_of(a) != generation or a & 7 != HALF_OPEN:
        return values
    if good is False:
        return tripped(values, now, generation, rules, luck, after=HALF_OPEN)
    b, c = aged(b, c, now, rules)
    if held:
        c &= ~((1 << rules.lease_bits) - 1 << place * rules.lease_bits)
    if good:
        tally = tally_of(a) + 1
        if tally >= rules.successes:
            return changed(a, CLOSED, 0), 0, 0
        a = packed(HALF_OPEN, opened_of(a), tally, 0, generation_of(a))
    return a, b, c


def forced(values: Values, state: int, until: int) -> Values:
    """Return the values of a state that somebody asked for, up to ``until`` (0: until something else is asked)."""
    opened = 1 if state in {OPEN, HALF_OPEN} else 0
    return changed(values[0], state, opened), until, 0


# -- a window that processes share


def counted(
    values: Values,
    now: int,
    generation: int,
    calls: int,
    failures: int,
    slow: int,
    rules: Rules,
    *,
    between: bool = True,
) -> Values:
    """Return the values of a closed breaker with ``calls`` added to its window, of which the failures came last.

    ``between``: the good ones among them came after the failures that were counted before, and end a row of these.
    """
    a, b, c = values
    if generation_of(a) != generation or a & 7 != CLOSED:
        return values
    slot = slot_of(a)
    if rules.half_ns:
        newest = now // rules.half_ns & _SLOT_MASK
        passed = newest - slot & _SLOT_MASK
        if passed:
            b, c, slot = 0, b if passed == 1 else 0, newest
    elif counts(b)[0] + calls > rules.half_calls:
        b, c = 0, b
    before = counts(b)
    b = packed_counts(before[0] + calls, before[1] + failures, before[2] + slow)
    tally = failures if between and calls > failures else tally_of(a) + failures
    return packed(CLOSED, opened_of(a), tally, slot, generation_of(a)), b, c


def totals(values: Values) -> tuple[int, int, int]:
    """Return calls, failures and slow calls in a shared window."""
    now, before = counts(values[1]), counts(values[2])
    return now[0] + before[0], now[1] + before[1], now[2] + before[2]


def verdict(calls: int, failures: int, slow: int, row: int, rules: Rules) -> str:
    """Return why a breaker that saw this must open; empty when it need not."""
    if rules.consecutive is not None and row >= rules.consecutive:
        return f"{row} failures in a row"
    if calls < rules.min_calls:
        return ""
    if rules.failure_rate is not None and failures and failures >= rules.failure_rate * calls:
        return f"{failures} of {calls} calls failed"
    if rules.slow_rate is not None and slow and slow >= rules.slow_rate * calls:
        return f"{slow} of {calls} calls were slow"
    return ""
