"""What an hour of figures gives cause to suspect."""

from __future__ import annotations

import pytest

from roadworthy.types import Severity, Status
from roadworthy.watch.leaks import busy_machine, busy_program, large_worker, rising_memory

MIB = 1 << 20


def line(first, rise_an_hour, *, minutes=60, noise=0.0):
    return [
        (60.0 * minute, (first + rise_an_hour * minute / 60 + (noise if minute % 2 else -noise)) * MIB)
        for minute in range(minutes + 1)
    ]


def warm_up():
    return [(60.0 * minute, (50 + 5 * min(minute, 10)) * MIB) for minute in range(61)]


@pytest.mark.parametrize(
    ("name", "points", "suspected"),
    [
        ("20 MiB an hour", line(100, 20), True),
        ("20 MiB an hour under noise", line(100, 20, noise=1), True),
        ("steady", line(100, 0, noise=1), False),
        ("falling", line(100, -20), False),
        ("2 MiB an hour", line(100, 2), False),
        ("2 % of it an hour", line(1000, 20), False),
        ("a start that fills its caches", warm_up(), False),
        ("nine minutes", line(100, 600, minutes=9), False),
        ("nothing", [], False),
        ("gaps alone", [(float(at), None) for at in range(60)], False),
    ],
)
def test_a_leak_is_suspected_of_memory_that_only_rises(name, points, suspected):
    found = rising_memory("program memory", points)
    assert (found is not None) is suspected, name


def test_a_suspicion_warns_with_rate_and_time_left_and_degrades_nothing():
    found = rising_memory("program memory", line(100, 20), limit=140.0 * MIB)
    assert found.status is Status.OK
    assert found.reason.startswith("rises by 20 MiB an hour, for 1 h now: a leak is suspected")
    assert found.reason.endswith("its limit is reached in 1 h")


@pytest.mark.parametrize(
    ("percent", "seconds", "told"), [(81.0, 300, True), (79.0, 300, False), (99.0, 200, False), (None, 300, False)]
)
def test_a_machine_is_busy_above_eighty_per_cent_over_five_minutes(percent, seconds, told):
    points = [(float(at), percent) for at in range(0, seconds + 1, 10)]
    assert (busy_machine(points) is not None) is told


@pytest.mark.parametrize(
    ("used", "severity"), [(40.0, None), (50.0, None), (60.0, Severity.WARNING), (90.0, Severity.CRITICAL)]
)
def test_a_program_above_its_share_of_the_cpu_for_five_minutes_is_told_of(used, severity):
    points = [(60.0 * minute, used) for minute in range(7)]
    found = busy_program(points, 50.0, 80.0)
    assert (found.severity if found else None) is severity
    assert busy_program(points[:3], 50.0, 80.0) is None
    assert busy_program([], 50.0, 80.0) is None


@pytest.mark.parametrize(
    ("rss", "severity"),
    [(None, None), (400e6, None), (500e6, None), (600e6, Severity.WARNING), (1001e6, Severity.CRITICAL)],
)
def test_a_large_worker_is_told_of_and_degrades_nothing(rss, severity):
    found = large_worker(rss, 500.0, 1000.0)
    assert (found.severity if found else None) is severity
    assert found is None or found.status is Status.OK
