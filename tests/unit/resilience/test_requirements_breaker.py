"""CBR-01, CBR-03 and ERR-13 by the names that programs know them by: a breaker and procedures for each service."""

import pytest

from roadworthy.resilience import BreakerOpen, CircuitBreakerConfig, Policy, recovery
from roadworthy.resilience.degrade import degradation_manager
from roadworthy.resilience.recover import manager as managers
from roadworthy.resilience.recover.manager import ErrorRecoveryManager


@pytest.fixture
def manager():
    yield ErrorRecoveryManager()
    for name in degradation_manager.services():
        degradation_manager.deactivate_degradation(name)


def fail():
    raise ConnectionError


def failed(call, times):
    for _ in range(times):
        with pytest.raises(ConnectionError):
            call(fail)


def test_the_defaults_are_the_four_numbers_as_given():
    given = CircuitBreakerConfig(failure_threshold=5, success_threshold=3, timeout=60, recovery_timeout=300)
    default = CircuitBreakerConfig()
    for name in ("failure_threshold", "success_threshold", "timeout", "recovery_timeout"):
        assert getattr(default, name) == getattr(given, name)
    assert default.describe() == given.describe()


def test_each_service_has_a_breaker_of_its_own_with_its_own_numbers(manager):
    strict = manager.register_service("strict", CircuitBreakerConfig(failure_threshold=1))
    patient = manager.register_service("patient", CircuitBreakerConfig(failure_threshold=7))
    usual = manager.register_service("usual")
    failed(strict.call, 1)
    assert (strict.breaker_state, patient.breaker_state, usual.breaker_state) == ("open", "closed", "closed")
    failed(usual.call, 5)
    failed(patient.call, 6)
    assert (patient.breaker_state, usual.breaker_state) == ("closed", "open")
    failed(patient.call, 1)
    assert patient.breaker_state == "open"


def test_single_operations_have_breakers_too_and_one_does_not_close_off_the_other():
    reading = Policy("orders.read", breaker=CircuitBreakerConfig(failure_threshold=2))
    writing = Policy("orders.write", breaker=CircuitBreakerConfig(failure_threshold=2))
    failed(writing.call, 2)
    with pytest.raises(BreakerOpen):
        writing.call(int)
    assert reading.call(int) == 0


def test_each_service_is_recovered_by_its_own_procedure_and_no_other(manager):
    done = []
    for name in ("database", "mail"):
        manager.register_service(name, recover=lambda name=name: done.append(name), check=lambda: True)
    assert manager.services.recover("mail").ok
    assert done == ["mail"]


def test_a_service_is_registered_with_the_shared_manager_by_its_well_known_name():
    managers.forget()
    try:
        config = CircuitBreakerConfig(failure_threshold=5, success_threshold=3, timeout=60, recovery_timeout=300)
        service = recovery.error_recovery_manager.register_service("my_service", config)
        assert managers.get_error_recovery().services.named("my_service") is service
        assert service.breaker_state == "closed"
    finally:
        managers.forget()
