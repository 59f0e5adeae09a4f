"""Services recover by themselves under a breaker, and are recovered when what proves it says so."""

import asyncio
import itertools
import threading

import pytest

from roadworthy.errors import NotFound
from roadworthy.resilience import BreakerOpen, CircuitBreakerConfig, outward
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.degrade import ServiceFallback, degradation_manager
from roadworthy.resilience.recover import healing
from roadworthy.resilience.recover.context import ErrorContext, RecoveryAction
from roadworthy.resilience.recover.manager import ErrorRecoveryManager
from roadworthy.testing import MovableClock
from support.resilience_outside import Outside
from support.running import wait_for

_names = itertools.count()


class Backend:
    """Down until it is reconnected as often as it needs."""

    def __init__(self, needs=0):
        self.needs = needs
        self.reconnects = 0
        self.calls = 0

    @property
    def up(self):
        return self.reconnects >= self.needs

    def get(self):
        self.calls += 1
        if not self.up:
            raise ConnectionError("password=hunter2")
        return "row"

    def ping(self):
        return self.up

    def reconnect(self):
        self.reconnects += 1
        return True  # which proves nothing


@pytest.fixture
def manager():
    made = ErrorRecoveryManager()
    made.services.spawn = lambda function, arguments: function(*arguments)
    yield made
    for name in degradation_manager.services():
        degradation_manager.deactivate_degradation(name)
    outward.attach(None)


@pytest.fixture
def clock():
    with MovableClock() as movable:
        yield movable


@pytest.fixture
def name():
    return f"service-{next(_names)}"


CONFIG = CircuitBreakerConfig(failure_threshold=5, success_threshold=3, timeout=60, recovery_timeout=300)


def break_it(service, backend, times=5):
    for _ in range(times):
        with pytest.raises(ConnectionError):
            service.call(backend.get)


def test_five_failures_open_its_breaker_and_three_successes_close_it(manager, clock, name):
    backend = Backend(needs=1)
    service = manager.register_service(name, CONFIG)
    assert service.state == "unknown"
    break_it(service, backend, 4)
    assert (service.state, service.breaker_state) == ("degraded", "closed")
    break_it(service, backend, 1)
    assert (service.state, service.breaker_state) == ("down", "open")
    with pytest.raises(BreakerOpen):
        service.call(backend.get)
    assert backend.calls == 5
    backend.reconnect()
    clock.move(301)
    for _ in range(3):
        assert service.call(backend.get) == "row"
    assert (service.state, service.breaker_state) == ("up", "closed")


def test_with_its_breaker_closed_by_good_probes_it_is_no_longer_degraded(manager, name):
    backend = Backend(needs=1)
    config = CircuitBreakerConfig(failure_threshold=5, success_threshold=1, recovery_timeout=10)
    service = manager.register_service(name, config)
    with MovableClock() as clock:
        break_it(service, backend)
        manager.tick()
        assert degradation_manager.is_degraded(name)
        backend.reconnect()
        clock.move(11)
        service.call(backend.get)
        manager.tick()
        assert service.state == "up"


def test_a_service_whose_breaker_is_open_is_recovered_by_itself_and_proven_by_its_check(manager, clock, name):
    backend = Backend(needs=1)
    service = manager.register_service(name, CONFIG, recover=backend.reconnect, check=backend.ping)
    break_it(service, backend)
    manager.tick()
    assert service.state == "up"
    assert service.call(backend.get) == "row"
    assert service.describe()["recovered"] == 1
    assert manager.summary()["recoveries"]["success"] >= 1


def test_a_procedure_that_returns_true_and_does_not_help_is_a_failure(manager, clock, name):
    backend = Backend(needs=99)
    service = manager.register_service(name, CONFIG, recover=backend.reconnect, check=backend.ping)
    break_it(service, backend)
    result = manager.services.recover(name)
    assert not result.ok
    assert result.detail == "not recovered: its check says False"
    assert service.state == "down"
    assert service.describe()["recovered"] == 0
    assert service.describe()["recoveries"] == 1


def test_a_broken_service_is_not_restarted_for_ever(manager, clock, name):
    restarts = []
    backend = Backend(needs=99)
    service = manager.register_service(name, CONFIG, restart=lambda: restarts.append(1), check=backend.ping)
    break_it(service, backend)
    at = []
    for second in range(3600):
        before = len(restarts)
        manager.tick()
        if len(restarts) > before:
            at.append(second)
        if service.breaker_state != "open":
            break_it(service, backend, 1)  # its own break is over: the next call finds it down as before
        clock.move(1)
    assert len(at) <= 15
    assert [second for second in at if second < 60] == [0, 5, 10, *[second for second in at if 30 <= second < 60]]
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert max(gaps) >= 400, "the pauses grow"
    assert service.describe()["attempts"] in {"open", "half_open"}


def test_a_recovery_that_does_not_help_becomes_a_restart_if_there_is_one(manager, clock, name):
    backend = Backend(needs=1)
    service = manager.register_service(
        name, CONFIG, recover=lambda: 1 / 0, restart=backend.reconnect, check=backend.ping
    )
    break_it(service, backend)
    result = manager.services.recover(name)
    assert result.ok
    assert result.detail.startswith(
        "restarted: its check is good; recovery did not help: its procedure failed (ZeroDiv"
    )
    assert service.state == "up"


def test_restart_true_asks_for_a_new_process(manager, clock, name):
    outside = Outside()
    outward.attach(outside)
    service = manager.register_service(name, CONFIG, restart=True)
    assert service.describe()["restart"]
    result = manager.services.restart(name)
    assert result.ok
    assert result.detail == "a new process was asked for"
    assert outside.restarts == [f"service {name}: restart was asked for"]
    assert not manager.services.restart(name).ok, "not again within five minutes"


def test_the_state_is_saved_before_a_new_process_is_asked_for(manager, tmp_path, name):
    class Killer(Outside):
        def ask_restart(self, reason):
            self.at_the_end = manager.load_emergency_state(str(tmp_path))
            return True

    outside = Killer()
    outward.attach(outside)
    manager.emergency_state(lambda: {"turn": 7}, str(tmp_path))
    manager.register_service(name, CONFIG, restart=True)
    assert manager.services.restart(name).ok
    assert outside.at_the_end["state"] == {"turn": 7}


def test_without_a_check_the_next_real_call_proves_it(manager, name):
    backend = Backend(needs=1)
    service = manager.register_service(name, CONFIG, recover=backend.reconnect)
    break_it(service, backend)
    results = []
    thread = threading.Thread(target=lambda: results.append(manager.services.recover(name)))
    thread.start()
    wait_for(lambda: service.breaker_state != "open", "one call is let through")
    assert service.call(backend.get) == "row"
    thread.join(10)
    assert results[0].ok
    assert results[0].detail == "recovered: the next real call succeeded"


def test_without_a_check_and_without_a_call_it_is_not_called_a_success(manager, clock, name):
    backend = Backend(needs=99)
    service = manager.register_service(name, CONFIG, recover=backend.reconnect)
    break_it(service, backend)
    result = manager.services.recover(name)
    assert not result.ok
    assert result.detail == "recover ran; no call has come yet that would prove it"
    assert service.describe()["recovered"] == 0
    assert service.breaker_state == "half_open"
    break_it(service, backend, 1)  # the call that comes later settles it
    assert service.breaker_state == "open"
    outcomes = {key[2:]: count for key, count in manager._ledger.recoveries.items() if key[1] == "service"}
    assert outcomes == {("recover", "failure"): 1}
    assert healing.PROOF == 5.0


def test_what_people_forced_open_stays_so_and_is_not_recovered_by_itself(manager, clock, name):
    backend = Backend(needs=1)
    service = manager.register_service(name, CONFIG, recover=backend.reconnect, check=backend.ping)
    break_it(service, backend)
    service.policy.breaker.force("forced_open")
    manager.tick()
    assert backend.reconnects == 0
    assert manager.services.recover(name).ok
    assert service.breaker_state == "forced_open"
    assert service.state == "down"


def test_one_recovery_at_a_time(manager, name):
    go, begun = threading.Event(), threading.Event()

    def slow():
        begun.set()
        go.wait(10)

    manager.register_service(name, CONFIG, recover=slow, check=lambda: True)
    thread = threading.Thread(target=manager.services.recover, args=(name,))
    thread.start()
    assert begun.wait(10)
    assert manager.services.recover(name).detail == "another recovery of it is under way"
    go.set()
    thread.join(10)
    assert manager.services.recover(name).ok


def test_a_service_without_procedures_says_so(manager, name):
    manager.register_service(name)
    assert not manager.services.recover(name).ok
    assert "has no recover procedure" in manager.services.recover(name).detail
    assert "has no restart procedure" in manager.services.restart(name).detail


def test_a_service_that_nobody_registered_is_refused_by_name(manager):
    with pytest.raises(NotFound, match="nobody"):
        manager.services.recover("nobody")


def test_its_fallback_answers_and_it_is_degraded_meanwhile(manager, clock, name):
    backend = Backend()
    service = manager.register_service(name, CONFIG, fallback=lambda: "made up")
    assert service.call(backend.get) == "row"
    backend.needs = 1
    assert service.call(backend.get) == "row", "the last good result"
    assert service.state == "degraded"
    assert service.describe()["reason"] == "fallback in use: ConnectionError"
    for _ in range(5):
        service.call(backend.get)
    assert service.state == "down"
    clock.move(301)
    assert service.call(backend.get) == "made up"
    assert manager.handle_error(ValueError(), ErrorContext(name, "x")) is RecoveryAction.FALLBACK


def test_a_service_fallback_may_be_given_as_it_is(manager, name):
    given = ServiceFallback(name, lambda: "made up", degraded_mode=False, cache_duration=0)
    service = manager.register_service(name, CONFIG, fallback=given)
    assert service.call(Backend(needs=1).get) == "made up"
    assert service.state == "up"


def test_coroutines_are_called_recovered_and_checked_too(manager, name):
    backend = Backend(needs=1)

    async def get():
        return backend.get()

    async def reconnect():
        await asyncio.sleep(0)
        backend.reconnect()

    async def ping():
        await asyncio.sleep(0)
        return backend.up

    async def fallback():
        return "made up"

    service = manager.register_service(name, CONFIG, recover=reconnect, check=ping, fallback=fallback)

    async def main():
        return [await service.acall(get) for _ in range(5)]

    assert asyncio.run(main()) == ["made up"] * 5
    assert service.breaker_state == "open"
    assert manager.services.recover(name).ok
    assert asyncio.run(service.acall(get)) == "row"


def test_no_secret_of_an_error_is_shown(manager, name):
    service = manager.register_service(name, CONFIG)
    break_it(service, Backend(needs=1), 1)
    assert service.describe()["last_error"] == "ConnectionError"
    outward.attach(Outside())
    break_it(service, Backend(needs=1), 1)
    assert service.describe()["last_error"] == "ConnectionError: password=***"


def test_each_change_of_its_state_is_told(manager, clock, name):
    outside = Outside()
    outward.attach(outside)
    backend = Backend(needs=1)
    service = manager.register_service(name, CONFIG, recover=backend.reconnect, check=backend.ping)
    manager.tick()
    break_it(service, backend)
    manager.services.spawn = lambda *_: None
    manager.tick()
    manager.services.recover(name)
    manager.tick()
    manager.tick()
    assert [one[:4] for one in outside.of("changed")] == [
        ("service", name, "normal", "degraded"),
        ("service", name, "unknown", "down"),
        ("service", name, "degraded", "normal"),
        ("service", name, "down", "up"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"config": "strict"},
        {"recover": "reconnect"},
        {"check": 7},
        {"restart": "yes"},
        {"fallback": 7},
        {"policy": "db"},
    ],
)
def test_an_impossible_service_is_refused_and_none_is_registered(manager, wrong):
    given = {"name": "never"} | wrong
    with pytest.raises(BadArgument):
        manager.register_service(given.pop("name"), given.pop("config", None), **given)
    assert manager.services.all() == []
