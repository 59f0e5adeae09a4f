"""What declarations, counters and people's holds become: services, features, findings."""

import math

import pytest

from roadworthy.types import BreakerState, Event, EventKind, Kind, PolicySummary, Series, ServiceCondition, Status
from roadworthy.watch.policies import Held
from roadworthy.watch.services import Dependencies, findings

NOW = 1_795_000_000.0


def recovery(value, outcome="success", component="database"):
    labels = (("action", "reconnect"), ("component", component), ("kind", "ConnectionError"), ("outcome", outcome))
    return Series("resilience.recoveries", Kind.COUNTER, labels, value=value)


def off(value, feature="reports"):
    return Series("resilience.feature.off", Kind.GAUGE, (("feature", feature),), value=value)


def event(source, level="info", /, **fields):
    return Event(EventKind.STATE, NOW, level, source, f"{source} changed", 1, fields=fields)


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (["up"], "up"), (["normal"], "up"), (["up", "degraded"], "degraded"), (["down", "up"], "down"),
        (["up", "puzzled"], "unknown"), ([None], "unknown"), ([{"a": 1}], "unknown"),
        (["puzzled", "degraded"], "degraded"),
    ],
)  # fmt: skip
def test_the_worst_that_a_process_says_is_what_is_shown(words, state):
    told = [{"name": "database", "state": word} for word in words]
    (found,) = Dependencies().services(0.0, told, {}, {})
    assert found.state is ServiceCondition(state)


def test_recoveries_are_counted_with_their_success():
    book = Dependencies()
    book.take([recovery(2.0), recovery(1.0, "failure")], None, ())
    book.take([recovery(3.0)], None, ())
    book.take((), [recovery(3.0), recovery(1.0, "failure")], ())
    (found,) = book.services(0.0, [{"name": "database", "recover": True}], {}, {})
    assert (found.recoveries, found.recovered, found.recover, found.restart) == (4, 3, True, False)


def test_an_event_tells_the_last_error_and_since_when():
    book = Dependencies()
    book.take(
        (), None, [event("service:database", "error", to="down", reason="refused", error="ConnectionRefusedError")]
    )
    (found,) = book.services(0.0, [{"name": "database", "state": "down"}], {}, {})
    assert (found.reason, found.since, found.last_error, found.last_error_at) == (
        "refused",
        NOW,
        "ConnectionRefusedError",
        NOW,
    )


def test_what_people_degrade_is_theirs_and_does_not_hide_that_it_is_down():
    held = {"database": Held("degraded", "high_load", NOW, NOW + 60)}
    (found,) = Dependencies().services(0.0, [{"name": "database", "state": "up"}], held, {})
    assert (found.state, found.reason, found.by, found.since, found.until) == (
        ServiceCondition.DEGRADED, "high_load", "people", NOW, NOW + 60,
    )  # fmt: skip
    (found,) = Dependencies().services(0.0, [{"name": "database", "state": "down"}], held, {})
    assert found.state is ServiceCondition.DOWN


@pytest.mark.parametrize(
    ("told", "state"),
    [("db", "open"), ("closed", "closed"), ("nonsense", "unknown"), (None, None), ({"a": 1}, "unknown")],
)
def test_a_service_shows_the_breaker_that_it_names(told, state):
    policies = {"db": PolicySummary("db", BreakerState.OPEN)}
    (found,) = Dependencies().services(0.0, [{"name": "database", "breaker": told}], {}, policies)
    assert found.breaker == (None if state is None else BreakerState(state))


def test_until_its_process_tells_of_it_a_feature_that_is_off_is_shown_by_its_event():
    book = Dependencies()
    gone = event("feature:reports", "warning", to="off", reason="too loud", source="recovery", until=str(NOW + 60))
    book.take([off(1.0)], None, [gone])
    (found,) = book.features(0.0, [{"name": "reports", "off": False, "reason": "", "until": None}], {})
    assert (found.off, found.reason, found.since, found.until, found.by) == (
        True, "too loud", NOW, NOW + 60, "recovery",
    )  # fmt: skip
    (found,) = book.features(1.0, [{"name": "reports", "off": True, "reason": "too loud", "until": None}], {})
    assert found.until is None, "it has told that it is off for an open time"


def test_a_feature_that_is_off_in_one_process_is_off():
    told = [
        {"name": "reports", "off": False},
        {"name": "reports", "off": True, "reason": "high_load", "source": "recovery"},
    ]
    (found,) = Dependencies().features(0.0, told, {})
    assert (found.off, found.reason, found.by) == (True, "high_load", "recovery")


def test_the_gauge_speaks_where_no_process_is_connected_and_a_gone_gauge_says_nothing():
    book = Dependencies()
    book.take([off(1.0)], None, [event("feature:reports", "warning", to="off", reason="import failed")])
    (found,) = book.features(0.0, (), {})
    assert (found.off, found.reason, found.since) == (True, "import failed", NOW)
    book.take((), [], ())
    assert book.features(0.0, (), {}) == ()


def test_what_people_switch_off_is_off_whatever_the_program_says():
    held = {"reports": Held("off", "high_load", NOW)}
    (found,) = Dependencies().features(0.0, [{"name": "reports", "off": False}], held)
    assert (found.off, found.reason, found.by, found.until) == (True, "high_load", "people", None)


def test_what_no_process_tells_of_any_more_is_unknown_and_after_ten_minutes_forgotten():
    book = Dependencies()
    book.services(100.0, [{"name": "database", "state": "up", "recover": True, "restart": True}], {}, {})
    book.features(100.0, [{"name": "reports", "off": False}], {})
    (service,) = book.services(110.0, (), {}, {})
    assert (service.state, service.recover, service.restart) == (ServiceCondition.UNKNOWN, False, True)
    (feature,) = book.features(110.0, (), {})
    assert feature.off is None
    assert book.services(701.0, (), {}, {}) == book.features(701.0, (), {}) == ()


def test_degraded_parts_degrade_the_program_and_nothing_worse():
    book = Dependencies()
    services = book.services(0.0, [{"name": "database", "state": "down"}, {"name": "mail", "state": "up"}], {}, {})
    features = book.features(0.0, [{"name": "a", "off": True}, {"name": "b", "off": False}, {"name": "c"}], {})
    found = list(findings(services, features))
    assert [(one.subject, one.status) for one in found] == [
        ("service database", Status.DEGRADED), ("feature a", Status.DEGRADED),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "told",
    [
        {"name": ["x"], "state": [], "since": 10**400, "until": math.inf},
        {"name": "a", "off": "yes", "reason": {"secret": []}, "since": "soon", "source": 7},
        {"name": "b" * 5000, "off": True, "reason": "c" * 100_000},
    ],
)
def test_whatever_a_program_declares_does_no_harm(told):
    book = Dependencies()
    for found in (*book.services(0.0, [told], {}, {}), *book.features(0.0, [told], {})):
        assert len(found.name) <= 200
        assert len(found.reason) <= 200
        assert found.since is None or math.isfinite(found.since)
