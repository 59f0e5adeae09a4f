"""Where time and memory go, and what is measured badly."""

from __future__ import annotations

import pytest

from roadworthy.types import Histogram, Kind, Operation, Series
from roadworthy.watch.bottlenecks import bottlenecks, hints, memory_impact


def operation(name, *, rate=10.0, mean=0.01, p50=0.01, p99=0.02, error_rate=0.0, count=1000):
    return Operation(name, count, 0, 0, rate, error_rate, p50, p50, p50, p99, p99, p99, mean)


def test_an_operation_that_takes_most_of_the_time_is_a_bottleneck():
    found = bottlenecks([operation("query", mean=0.09), operation("render", mean=0.01)])
    assert [(one.operation, one.load, one.share) for one in found] == [
        ("query", pytest.approx(0.9), pytest.approx(0.9))
    ]
    assert found[0].why == ("90% of the time of all operations",)


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (operation("a", rate=0.01, p50=0.002, p99=0.5), "uneven: the p99 is 250 times the median"),
        (operation("a", rate=0.01, error_rate=0.2), "20% of its runs fail"),
    ],
)
def test_uneven_and_failing_operations_are_bottlenecks_too(one, why):
    busy = operation("busy", rate=100, mean=0.1)
    assert [found.why for found in bottlenecks([one, busy]) if found.operation == "a"] == [(why,)]


def test_a_program_that_does_nothing_has_no_bottleneck():
    assert bottlenecks([operation("a", rate=0.0), operation("b", rate=None)]) == ()


def test_memory_is_told_of_operations_that_measured_it():
    grown = Series(
        "operation.memory.growth", Kind.HISTOGRAM, (("operation", "load"),), "By",
        histogram=Histogram({0: 3, 200: 1}, 4096.0, 4096.0, 1.0),
    )  # fmt: skip
    (found,) = memory_impact([grown, Series("other", Kind.COUNTER, value=1.0)])
    assert (found.operation, found.runs, found.gained, found.mean, found.most) == ("load", 4, 4096.0, 1024.0, 4096.0)


@pytest.mark.parametrize(
    ("p50", "rate", "count", "told"),
    [(0.0009, 50, 1000, True), (0.0011, 50, 1000, False), (0.0001, 9, 1000, False), (0.0001, 50, 19, False)],
)
def test_frequent_operations_below_a_millisecond_are_hinted_at(p50, rate, count, told):
    found = hints([operation("tiny", p50=p50, rate=rate, count=count)])
    assert bool(found) is told
    assert all("less than 1 ms" in one.hint for one in found)


def test_names_with_numbers_in_them_are_hinted_at_once():
    (found,) = hints([operation(f"load user {number}") for number in range(5)])
    assert (found.operation, "put it into the context" in found.hint) == ("load user #", True)
    assert hints([operation(f"phase {number}") for number in range(4)]) == ()


def test_one_thing_under_two_spellings_is_hinted_at():
    (found,) = hints([operation("loadRom"), operation("load_rom"), operation("other")])
    assert "loadRom, load_rom" in found.hint
