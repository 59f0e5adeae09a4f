from __future__ import annotations

import pytest
from benchmarks.arms import Disturbed
from benchmarks.rows import NotMeasured, Plan
from benchmarks.statistics import Verdict
from benchmarks.whole import Slice, Start, dearer, grown_tail, late, lost, order, pairs, starts, taken_beside

PLAIN, ATTACHED = False, True
QUIET = (0.1,) * 100


def fast(attached, rate, cpu=0.001, beside=0.01):
    return Slice(attached, {"rate": rate, "cpu": cpu, "beside": beside if attached else 0.0})


def calm(attached, *times):
    return Slice(attached, {}, times)


def start(plain=100.0, attached=100.0, turns=8):
    whose = order(turns, attached_first=False)
    return Start(
        [fast(each, attached if each else plain) for each in whose],
        [calm(each, 0.1, 0.2) for each in whose],
        70.0,
    )


@pytest.mark.parametrize(
    ("attached_first", "expected"), [(False, "PAAPPAAP"), (True, "APPAAPPA")], ids=["plain first", "attached first"]
)
def test_the_arms_take_turns_so_that_neither_is_the_later_one_of_every_pair(attached_first, expected):
    assert "".join("A" if each else "P" for each in order(8, attached_first=attached_first)) == expected


@pytest.mark.parametrize("number", range(0, 30, 2))
@pytest.mark.parametrize("attached_first", [False, True])
def test_neighbours_are_always_one_of_each_arm_with_the_plain_one_named_first(number, attached_first):
    taken = [fast(each, 1.0) for each in order(number, attached_first=attached_first)]
    found = list(pairs(taken))
    assert [(one.attached, other.attached) for one, other in found] == [(False, True)] * (number // 2)


@pytest.mark.parametrize("taken", [(False, False), (False,), (False, True, True)])
def test_turns_that_cannot_be_paired_are_an_error(taken):
    with pytest.raises(ValueError, match=r"pair|zip"):
        list(pairs([fast(each, 1.0) for each in taken]))


def test_a_machine_that_becomes_faster_and_faster_shows_no_loss():
    speeds = [100.0 * 1.01**place for place in range(12)]
    taken = [fast(each, speed) for each, speed in zip(order(12, attached_first=False), speeds, strict=True)]
    found = lost("x", [Start(taken, (), 1.0)], "requests/s").figure
    assert found is not None
    assert abs(found.value) < 0.0001


def test_a_loss_is_seen_however_different_the_machine_is_from_start_to_start():
    line = lost("x", [start(speed, 0.98 * speed) for speed in (50.0, 100.0, 200.0) * 2], "requests/s")
    assert line.figure is not None
    assert (line.figure.value, line.figure.low, line.figure.high) == pytest.approx((0.02, 0.02, 0.02))
    assert line.figure.measurements == 24
    assert line.verdict is Verdict.MISSED


@pytest.mark.parametrize(
    ("attached", "expected"),
    [
        ((99.5,) * 6, Verdict.MET),
        ((99.5, 99.5, 98.0) * 2, Verdict.UNDECIDED),
        ((110.0, 80.0, 100.0) * 2, Verdict.UNDECIDED),
        ((110.0,) * 6, Verdict.UNDECIDED),
        ((90.0, 80.0, 70.0) * 2, Verdict.MISSED),
        ((90.0, 80.0, 70.0), Verdict.UNDECIDED),
        ((99.5,) * 5, Verdict.UNDECIDED),
    ],
    ids=[
        "small",
        "holds the budget",
        "too noisy",
        "too good to be true",
        "large, however noisy",
        "large by chance",
        "small by chance",
    ],
)
def test_only_a_quiet_machine_meets_a_budget_and_few_starts_decide_nothing(attached, expected):
    assert lost("x", [start(100.0, each) for each in attached], "requests/s").verdict is expected


def test_a_percentile_is_of_all_times_of_an_arm_in_a_start_so_that_what_is_rare_counts():
    taken = [calm(PLAIN, *QUIET), calm(ATTACHED, *QUIET), calm(ATTACHED, *QUIET), calm(PLAIN, *QUIET)]
    slow = [*taken[:2], calm(ATTACHED, *QUIET[:90], *(0.3,) * 10), taken[3]]
    assert grown_tail([Start((), taken, 1.0), Start((), slow, 1.0)], 0.99) == pytest.approx([0.0, 2.0])


def test_times_at_a_fixed_rate_are_told_as_one_line_with_a_budget_and_two_without():
    found = late("x", [start()] * 6, "requests/s")
    assert [(line.what, line.budget is None) for line in found] == [
        ("x, p99", False), ("x, p99 of a second", True), ("x, median", True),
    ]  # fmt: skip
    assert all(line.figure is not None and line.figure.value == 0.0 for line in found)
    assert found[0].note == "200 ms plain, at 70 requests/s"


def test_cpu_time_is_compared_pair_by_pair_and_what_runs_beside_is_of_attached_turns_only():
    taken = [
        fast(PLAIN, 1.0, 0.001), fast(ATTACHED, 1.0, 0.0011, 0.02),
        fast(ATTACHED, 1.0, 0.0022), fast(PLAIN, 1.0, 0.002),
    ]  # fmt: skip
    cpu, beside = dearer("x", [Start(taken, (), 1.0)]), taken_beside("x", [Start(taken, (), 1.0)])
    assert cpu.figure is not None
    assert beside.figure is not None
    assert (cpu.figure.value, beside.figure.value) == pytest.approx((0.1, 0.015))
    assert (cpu.budget, beside.budget) == (None, None)
    assert cpu.note == "1.5 ms plain, whose turns differ by 100.0 % from one to the next"


def test_every_second_start_begins_with_the_attached_arm_and_another_takes_the_place_of_a_disturbed_one(capsys):
    asked = []

    def measure(attached_first):
        asked.append(attached_first)
        if len(asked) == 2:
            raise Disturbed("the agent recorded an incident")
        return start()

    assert len(starts(Plan(quick=True), "x", measure)) == 3
    assert asked == [False, True, True, False]
    assert "start 2 of 3 does not count: the agent recorded an incident" in capsys.readouterr().err


def test_nothing_is_told_when_suspending_disturbed_too_many_starts():
    asked = []

    def measure(_attached_first):
        asked.append(1)
        if len(asked) > 1:
            raise Disturbed("the agent recorded an incident")
        return start()

    with pytest.raises(NotMeasured, match="suspending disturbed 4 of 5 starts"):
        starts(Plan(quick=True), "x", measure)
    assert len(asked) == 5
