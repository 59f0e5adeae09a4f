"""One place to bring errors to: advised, recorded, rate-limited, never harmful."""

import asyncio
import gc
import threading
from pathlib import Path

import pytest

from roadworthy.resilience import outward, recovery
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.degrade import degradation_manager
from roadworthy.resilience.feature import feature, forget
from roadworthy.resilience.recover import manager as managers
from roadworthy.resilience.recover.context import ErrorContext, RecoveryAction
from roadworthy.resilience.recover.manager import (
    ErrorRecoveryManager,
    get_error_recovery,
    handle_error_with_context,
    initialize_error_recovery,
)
from roadworthy.resilience.recover.pressure import LESS, MORE, SAME, Pressure
from roadworthy.resilience.recover.repair import Repair
from roadworthy.testing import MovableClock
from support.resilience_outside import Outside


@pytest.fixture(autouse=True)
def fresh():
    forget()
    managers.forget()
    yield
    for name in degradation_manager.services():
        degradation_manager.deactivate_degradation(name)
    outward.attach(None)
    managers.forget()
    forget()


@pytest.fixture
def manager():
    return ErrorRecoveryManager()


@pytest.fixture
def outside():
    made = Outside()
    outward.attach(made)
    return made


# -- call forms


def test_there_is_one_shared_manager():
    assert initialize_error_recovery() is get_error_recovery() is initialize_error_recovery()
    assert recovery.error_recovery_manager is get_error_recovery()


@pytest.mark.parametrize(
    "call",
    [
        lambda error: handle_error_with_context(
            error, "world_engine", "generate_world", turn_count=10, frame_count=600
        ),
        lambda error: handle_error_with_context(error, "world_engine", "generate_world", 10, 600),
        lambda error: get_error_recovery().handle_error_with_context(error, "world_engine", "generate_world", 10, 600),
        lambda error: get_error_recovery().handle_error_with_context(
            error, component="world_engine", operation="generate_world", turn_count=10, frame_count=600
        ),
        lambda error: get_error_recovery().handle_error(error, ErrorContext("world_engine", "generate_world", 10, 600)),
        lambda error: get_error_recovery().handle_error(
            error, ErrorContext("world_engine", "generate_world", turn=10, frame=600)
        ),
    ],
)
def test_every_call_form_is_the_same_call(call, outside):
    assert call(ConnectionError()) is RecoveryAction.RETRY
    [(_, fields)] = outside.of("failed")
    assert {key: fields[key] for key in ("component", "operation", "turn", "frame")} == {
        "component": "world_engine", "operation": "generate_world", "turn": 10, "frame": 600,
    }  # fmt: skip


def test_other_keywords_become_context_and_the_programs_end_is_obeyed(manager, outside):
    manager.handle_error_with_context(ValueError(), "a", "b", player=7)
    assert outside.of("failed")[0][1]["player"] == 7
    assert manager.handle_error(KeyboardInterrupt(), ErrorContext("a")) is RecoveryAction.SHUTDOWN


# -- what is told


def test_errors_carry_the_correlation_identifier_and_security_ones_are_told_to_who_watches(manager, outside):
    manager.handle_error(PermissionError("password=hunter2"), ErrorContext("files", "open"))
    fields = outside.of("failed")[0][1]
    assert fields["correlation"] == "req-7"
    [(event, severity, text, _)] = outside.of("security")
    assert (event, severity) == ("permission_denied", "error")
    assert "hunter2" not in text
    manager.handle_error(ValueError(), ErrorContext("files", "open"))
    assert len(outside.of("security")) == 1


def test_the_summary_tells_what_went_wrong_and_what_became_of_it(manager, outside):
    manager.critical("db")
    manager.handle_error(ConnectionError(), ErrorContext("db", "load"))
    manager.handle_error(ConnectionError(), ErrorContext("db", "load"))
    manager.succeeded("db", "load")
    manager.handle_error(TimeoutError(), ErrorContext("mail", "send"))
    found = manager.summary()
    assert found["errors"] == 3
    assert found["by_kind"] == {"connection": 2, "timeout": 1}
    assert found["by_severity"] == {"critical": 2, "warning": 1}
    assert found["by_component"] == {"db": 2, "mail": 1}
    assert found["recoveries"] == {"success": 1, "failure": 1, "unproven": 0, "pending": 1}
    assert found["success_rate"] == 0.5
    assert found["errors_per_minute"] > 0
    assert [one["component"] for one in found["groups"]] == ["mail", "db"]
    assert found["recent"][0]["component"] == "mail"
    assert outside.of("recovered") == [
        ("db", "connection", "retry", "failure"), ("db", "connection", "retry", "success"),
    ]  # fmt: skip


def test_no_recovery_judged_is_no_success_rate(manager):
    assert manager.summary()["success_rate"] is None


def test_what_nobody_proves_in_time_is_unproven_and_no_success(manager):
    with MovableClock() as clock:
        manager.handle_error(ConnectionError(), ErrorContext("db", "load"))
        clock.move(299)
        manager.tick()
        assert manager.summary()["recoveries"]["pending"] == 1
        clock.move(2)
        manager.tick()
        assert manager.summary()["recoveries"] == {"success": 0, "failure": 0, "unproven": 1, "pending": 0}
        manager.succeeded("db", "load")
        assert manager.summary()["recoveries"]["success"] == 0


def test_the_summary_is_bounded(manager):
    for number in range(1000):
        manager.handle_error(ValueError(), ErrorContext(f"component-{number}", f"operation-{number}"))
    found = manager.summary()
    assert found["errors"] == 1000
    assert len(found["by_component"]) <= 256
    assert len(found["groups"]) == 50
    assert len(found["recent"]) == 50


def test_totals_balance_under_many_threads(manager):
    def work(name):
        for _ in range(200):
            manager.handle_error(ConnectionError(), ErrorContext(name, "load"))

    threads = [threading.Thread(target=work, args=(f"c{number % 2}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = manager.summary()
    assert found["errors"] == 1200
    assert found["by_component"] == {"c0": 600, "c1": 600}
    assert sum(found["recoveries"].values()) <= 1200
    assert manager.failures == 0


# -- rules


def test_the_programs_own_steps_run_in_order_and_at_most_once_in_their_time():
    done = []
    recovery.on(MemoryError, recovery.collect, feature("cache").off, lambda: done.append("mine"), every=60)
    with MovableClock() as clock:
        for _ in range(5):
            handle_error_with_context(MemoryError(), "cache", "fill")
            clock.move(10)
        assert done == ["mine"]
        assert feature("cache").is_off
        assert feature("cache").reason == "MemoryError in cache"
        clock.move(11)
        handle_error_with_context(MemoryError(), "cache", "fill")
        assert done == ["mine", "mine"]
    assert get_error_recovery().summary()["rules"] == {"on MemoryError": {"ran": 2, "failed_steps": 0}}


def test_a_step_is_given_what_it_has_parameters_for(manager):
    seen = []
    manager.on((ValueError, KeyError), lambda error, context: seen.append((error, context.component)))
    error = KeyError("x")
    manager.handle_error(error, ErrorContext("a"))
    manager.handle_error(RuntimeError(), ErrorContext("a"))
    assert seen == [(error, "a")]


def test_a_step_that_fails_is_counted_and_the_next_one_runs(manager):
    done = []
    manager.on(ValueError, lambda: 1 / 0, lambda: done.append(1))
    assert manager.handle_error(ValueError(), ErrorContext("a")) is RecoveryAction.CONTINUE
    assert done == [1]
    assert manager.summary()["rules"]["on ValueError"]["failed_steps"] == 1


@pytest.mark.parametrize(
    ("arguments", "options"),
    [((ValueError,), {}), (("ValueError", print), {}), (((), print), {}), ((ValueError, "print"), {}),
     ((ValueError, print), {"every": -1})],
)  # fmt: skip
def test_impossible_rules_are_refused(manager, arguments, options):
    with pytest.raises(BadArgument):
        manager.on(*arguments, **options)
    assert manager.summary()["rules"] == {}


def test_a_strategy_of_the_programs_own_comes_first(manager):
    class Reconnect:
        name = "reconnect"
        kinds = frozenset({"connection"})

        def run(self, _error, _context, _tries, _now_ns):
            return Repair("reconnected", repaired=True)

    manager.add_strategy(Reconnect())
    advice = manager.advise(ConnectionError(), ErrorContext("db", "load"))
    assert advice.strategies == ("reconnect", "back_off")
    manager.succeeded("db", "load")
    assert manager.summary()["strategies"]["reconnect"]["success"] == 1
    Reconnect.kinds = frozenset({"conection"})
    with pytest.raises(BadArgument, match="conection"):
        manager.add_strategy(Reconnect())


# -- never harmful


def test_when_recovery_itself_fails_the_program_is_told_to_go_on(manager, monkeypatch):
    monkeypatch.setattr(manager, "_advise", lambda *_: 1 / 0)
    advice = manager.advise(ValueError(), ErrorContext("a"))
    assert advice.action is RecoveryAction.CONTINUE
    assert manager.failures == 1
    assert "ZeroDivisionError" in manager.last_failure


def test_a_strategy_that_fails_is_one_that_did_not_help(manager):
    class Broken:
        name = "broken"
        kinds = frozenset({"connection"})

        def run(self, *_):
            raise OSError

    manager.add_strategy(Broken())
    assert manager.handle_error(ConnectionError(), ErrorContext("db")) is RecoveryAction.RETRY
    assert manager.failures == 1
    assert "broken" not in manager.summary()["strategies"]


class Awkward(Exception):
    def __str__(self):
        raise ValueError

    def __eq__(self, other):
        raise ValueError

    __hash__ = None


@pytest.mark.parametrize(
    ("error", "context"),
    [(Awkward(), ErrorContext("a")), (ValueError(), ErrorContext("")), (ValueError(), ErrorContext(None)),
     (ValueError("\0" * 10**6), ErrorContext("x" * 10**5, "y" * 10**5)), (ValueError(), ErrorContext("a\nb"))],
)  # fmt: skip
def test_whatever_it_is_given_it_does_not_raise(manager, outside, error, context):
    assert isinstance(manager.handle_error(error, context), RecoveryAction)
    assert manager.failures == 0


def test_a_listener_that_fails_does_not_matter(manager):
    outward.attach(object())
    assert manager.handle_error(ConnectionError(), ErrorContext("db")) is RecoveryAction.RETRY


def test_the_error_is_not_kept_alive(manager):
    import gc
    import weakref

    class Mine(Exception):
        pass

    error = Mine()
    gone = weakref.ref(error)
    manager.handle_error(error, ErrorContext("a"))
    del error
    gc.collect()
    assert gone() is None


# -- blocks


def test_what_a_block_was_to_release_is_released_also_on_errors_and_the_error_passes(manager):
    done = []
    attempt = manager.attempt(
        "db", "load", release=(lambda: done.append("first"), lambda: 1 / 0, lambda: done.append("last"))
    )
    with pytest.raises(ConnectionError), attempt:
        raise ConnectionError
    assert done == ["last", "first"]
    assert attempt.advice.action is RecoveryAction.RETRY
    assert manager.failures == 1  # the one that could not be released


def test_no_handle_is_left_after_many_failures(manager, tmp_path):
    def fds():
        return len(list(Path("/proc/self/fd").iterdir()))

    manager.emergency_state(lambda: {"turn": 1}, str(tmp_path))
    gc.collect()  # what other tests have left open
    before = fds()
    for number in range(50):
        file = (tmp_path / "file").open("w")
        with pytest.raises(MemoryError), manager.attempt(f"c{number}", "write", release=(file.close,)):
            raise MemoryError
    assert fds() <= before


def test_cancellation_passes_and_is_no_error_of_the_component(manager):
    async def work():
        with manager.attempt("db", "load"):
            await asyncio.sleep(30)

    async def main():
        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert manager.summary()["errors"] == 0


# -- critical failures


def test_on_a_critical_failure_emergency_state_is_saved(manager, tmp_path):
    manager.emergency_state(lambda: {"turn": 7}, str(tmp_path))
    manager.handle_error(ValueError(), ErrorContext("world", "step"))
    assert manager.load_emergency_state(str(tmp_path)) is None
    manager.critical("world")
    assert manager.handle_error(MemoryError(), ErrorContext("world", "step")) is not RecoveryAction.CONTINUE
    found = manager.load_emergency_state(str(tmp_path))
    assert found["state"] == {"turn": 7}
    assert found["reason"].startswith("world: ")
    assert manager.summary()["emergency"] == {"saved": 1, "failed": 0}


def test_a_critical_component_without_what_it_needs_ends_the_program(manager):
    manager.critical("renderer")
    error = ModuleNotFoundError("no", name="rw_gpu")
    assert manager.handle_error(error, ErrorContext("renderer", "start")) is RecoveryAction.SHUTDOWN


def test_a_restart_that_nobody_may_do_is_not_advised(manager):
    outside = Outside(may_restart=False)
    outward.attach(outside)
    for _ in range(12):
        action = manager.handle_error(KeyError(), ErrorContext("world", "step"))
    assert action is RecoveryAction.CONTINUE
    assert outside.restarts


# -- ERR-15: cascades, and pressure


def test_components_that_fail_together_are_shed_and_come_back(manager):
    manager.shed("particles", "shadows")
    manager.critical("world")
    with MovableClock() as clock:
        for name in ("db", "cache", "mail"):
            action = manager.handle_error(ConnectionError(), ErrorContext(name, "call"))
        assert action is RecoveryAction.DEGRADE, "in a cascade nothing that can be done without is retried"
        assert manager.handle_error(ConnectionError(), ErrorContext("world", "call")) is RecoveryAction.RETRY
        assert feature("particles").is_off
        assert feature("particles").reason == "failing together: cache, db, mail"
        assert feature("shadows").is_on
        clock.move(61)
        assert feature("particles").is_on
        assert manager.handle_error(ConnectionError(), ErrorContext("db", "call")) is not None
        assert feature("particles").is_on, "one alone is no cascade"


def test_a_falling_frame_rate_sheds_features_one_by_one_and_brings_them_back(manager):
    manager.shed("particles", "shadows")
    manager.watch_pressure("frame_rate", below=50, hold=2, release=5)
    seen = []
    with MovableClock() as clock:
        for fps in [60] * 3 + [30] + [60] * 2 + [30] * 7 + [51] * 20 + [60] * 20:
            clock.move(1)
            changed = manager.pressure("frame_rate", fps)
            seen.append((feature("particles").is_off, feature("shadows").is_off))
            assert manager.pressure("frame_rate", None) == ""
            del changed
    assert seen[5] == (False, False), "one slow second sheds nothing"
    assert (True, False) in seen
    assert (True, True) in seen
    assert seen[-21] == (True, True), "between the limit and what is good again nothing changes"
    assert seen[-1] == (False, False)
    assert seen.index((True, False)) < seen.index((True, True))


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ([(0, 95), (4, 95), (5, 95), (6, 95), (10, 95)], [SAME, SAME, MORE, SAME, MORE]),
        ([(0, 95), (4, 80), (5, 95), (9, 95), (10, 95)], [SAME, SAME, SAME, SAME, MORE]),
        ([(0, 80), (29, 80), (30, 80), (60, 80)], [SAME, SAME, LESS, LESS]),
        ([(0, 88), (100, 88), (200, 88)], [SAME, SAME, SAME]),
    ],
)
def test_pressure_needs_time_to_shed_and_time_to_bring_back(values, steps):
    pressure = Pressure("memory", above=90)
    assert [pressure.note(value, at * 10**9) for at, value in values] == steps


@pytest.mark.parametrize(
    "limits",
    [{}, {"above": 1, "below": 2}, {"above": 90, "back": 95}, {"below": 50, "back": 40}, {"above": 9, "hold": -1}],
)
def test_impossible_limits_are_refused(manager, limits):
    with pytest.raises(BadArgument):
        manager.watch_pressure("memory", **limits)


def test_a_figure_that_nobody_watches_is_refused(manager):
    with pytest.raises(BadArgument, match="fps"):
        manager.pressure("fps", 30)


def test_a_failing_part_leaves_the_rest_working(manager):
    """DEG-05."""
    for _ in range(10):
        manager.handle_error(ConnectionError(), ErrorContext("recommendations", "fetch"))
    assert degradation_manager.is_degraded("recommendations")
    assert not degradation_manager.is_degraded("checkout")
    with manager.attempt("checkout", "pay"):
        pass
    assert manager.summary()["by_component"] == {"recommendations": 10}
