"""ERR-15, ERR-18 and HLT-20: pressure on memory, the table of exit codes, recovery without anybody's help."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from roadworthy import errors
from roadworthy.resilience.feature import feature, forget
from roadworthy.resilience.recover.manager import ErrorRecoveryManager
from roadworthy.testing import MovableClock

SOURCE = Path(__file__).parents[3] / "src"


@pytest.fixture
def manager():
    forget()
    yield ErrorRecoveryManager()
    forget()


def test_memory_that_fills_up_costs_a_feature_before_it_runs_out_and_the_feature_comes_back(manager):
    most, cache, work = 100, [], 20
    manager.shed("cache")
    manager.watch_pressure("memory", above=90, hold=3, release=10)
    off_at, on_again_at = None, None
    with MovableClock() as clock:
        for second in range(120):
            clock.move(1)
            if feature("cache").is_on:
                cache += [0] * (2 if second < 60 else 0)
            else:
                cache.clear()
            used = work + len(cache)
            assert used < most, "it never ran out"
            manager.pressure("memory", 100 * used / most)
            if off_at is None and feature("cache").is_off:
                off_at = second
            elif off_at is not None and on_again_at is None and feature("cache").is_on:
                on_again_at = second
    assert off_at is not None
    assert on_again_at is not None
    assert on_again_at - off_at >= 10
    assert feature("cache").is_on


# C-60; 126 and 127 are the shell's, for a program that could not be started.
CODES = {
    0: "OK", 1: "GENERAL", 2: "USAGE", 3: "CONFIGURATION", 4: "UNAVAILABLE", 5: "EXHAUSTED", 6: "SECURITY",
    7: "UNHEALTHY", 75: "TEMPORARY", 126: "NOT_EXECUTABLE", 127: "NOT_FOUND", 130: "INTERRUPT", 143: "TERMINATED",
}  # fmt: skip


def test_the_exit_codes_are_those_of_the_table_and_no_others():
    ours = {name.removeprefix("EXIT_"): code for name, code in vars(errors).items() if name.startswith("EXIT_")}
    assert ours == {name: code for code, name in CODES.items()}


def every(kind):
    yield kind
    for below in kind.__subclasses__():
        yield from every(below)


def test_each_error_of_ours_has_a_code_of_the_table_and_the_tree_shows_it():
    shown = [one for one in every(errors.RoadworthyError) if one.__module__ == errors.__name__]
    assert len(shown) > 10
    for one in shown:
        assert one.exit_code in CODES
        line = next(line for line in errors.__doc__.splitlines() if f" {one.__name__} " in f" {line} ")
        assert f" {one.exit_code} " in line


HEALED = """
    import time
    import roadworthy
    from roadworthy.resilience import CircuitBreakerConfig, error_recovery_manager

    reconnected = []

    def load():
        if not reconnected:
            raise ConnectionError
        return "row"

    roadworthy.start("healed")
    config = CircuitBreakerConfig(failure_threshold=2, success_threshold=1, timeout=60, recovery_timeout=3000)
    database = error_recovery_manager.register_service(
        "database", config, recover=lambda: reconnected.append(1), check=lambda: bool(reconnected)
    )
    for _ in range(2):
        try:
            database.call(load)
        except ConnectionError:
            pass
    print(database.breaker_state)
    until = time.monotonic() + 60
    while database.state != "up" and time.monotonic() < until:
        time.sleep(0.02)
    print(database.state, database.breaker_state, database.call(load), database.describe()["recovered"])
"""


def test_a_registered_service_is_recovered_while_the_program_runs_without_anybody_asking(tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROADWORTHY_")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HEALED)], capture_output=True, text=True, check=False, timeout=100,
        env={**kept, "PYTHONPATH": str(SOURCE), "ROADWORTHY_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["open", "up closed row 1"]
