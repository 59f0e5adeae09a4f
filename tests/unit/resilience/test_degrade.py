"""Degraded services answer what their rules say, are listed with reasons, and come back."""

import asyncio
from unittest.mock import ANY

import pytest

from roadworthy.resilience import degrade, outward
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.degrade import DegradationManager, ServiceFallback
from roadworthy.resilience.fallback import is_degraded
from roadworthy.resilience.switch import RECOVERY
from roadworthy.testing import MovableClock
from support.resilience_outside import Outside

RULE = {
    "degraded_responses": {
        "list": {"reports": [], "message": "Report service degraded"},
        "generate": {"status": "queued", "message": "Generation queued"},
    }
}


@pytest.fixture
def manager():
    made = DegradationManager()
    made.register_degradation_rule("reports", RULE)
    yield made
    outward.attach(None)


@pytest.fixture
def clock():
    with MovableClock() as movable:
        yield movable


def test_while_degraded_exactly_the_rules_answers_are_given(manager):
    @manager.degradable("reports", "list")
    def list_reports():
        return {"reports": [1, 2]}

    @manager.degradable("reports", "generate")
    async def generate():
        return {"status": "done"}

    assert list_reports() == {"reports": [1, 2]}
    manager.activate_degradation("reports", "high_load")
    assert list_reports() == {"reports": [], "message": "Report service degraded"}
    assert asyncio.run(generate()) == {"status": "queued", "message": "Generation queued"}
    assert manager.deactivate_degradation("reports")
    assert list_reports() == {"reports": [1, 2]}
    assert asyncio.run(generate()) == {"status": "done"}


def test_what_a_caller_does_to_an_answer_is_not_in_the_next_one(manager):
    manager.activate_degradation("reports", "high_load")
    manager.response("reports", "list")["reports"].append("mine")
    assert manager.response("reports", "list") == {"reports": [], "message": "Report service degraded"}


def test_an_operation_without_a_degraded_answer_goes_on(manager):
    manager.activate_degradation("reports", "high_load")
    assert manager.response("reports", "status", "as always") == "as always"
    assert manager.degradable("reports", "status")(lambda: "real")() == "real"


def test_degraded_components_are_listed_with_their_reasons(manager):
    assert manager.degraded() == []
    manager.activate_degradation("reports", "high_load")
    manager.activate_degradation("mail", "smtp is down", for_=60)
    reports, mail = manager.degraded()
    assert (reports["name"], reports["reason"], reports["by"], reports["until"]) == (
        "reports", "high_load", "program", None,
    )  # fmt: skip
    assert (mail["name"], mail["reason"]) == ("mail", "smtp is down")
    assert mail["until"] - mail["since"] == pytest.approx(60, abs=1)


def test_the_degraded_answer_is_marked_in_its_context(manager):
    list_reports = manager.degradable("reports", "list")(lambda: "real")
    manager.activate_degradation("reports", "high_load")
    list_reports()
    assert is_degraded()
    manager.deactivate_degradation("reports")
    list_reports()
    assert not is_degraded()


def test_it_ends_when_its_time_is_over(manager, clock):
    manager.activate_degradation("reports", "high_load", for_=300)
    clock.move(301)
    assert not manager.is_degraded("reports")


def test_a_trigger_starts_it_and_ends_it_after_the_hold_time(manager, clock):
    load = [0.1]

    def overloaded():
        return load[0] > 0.9

    manager.register_degradation_rule("reports", {**RULE, "trigger": overloaded, "hold": 20})
    assert manager.response("reports", "list") is None
    load[0] = 0.95
    clock.move(1)
    assert manager.response("reports", "list") == RULE["degraded_responses"]["list"]
    assert manager.degraded()[0]["reason"] == "trigger: overloaded"
    load[0] = 0.2
    for _ in range(19):
        clock.move(1)
        assert manager.is_degraded("reports")
    for _ in range(3):
        clock.move(1)
        manager.tick()
    assert not manager.is_degraded("reports")


def test_a_trigger_that_fails_starts_nothing_and_ends_nothing(manager, clock):
    broken = [True]

    def trigger():
        if broken[0]:
            raise OSError
        return True

    outside = Outside()
    outward.attach(outside)
    manager.register_degradation_rule("reports", {**RULE, "trigger": trigger, "hold": 2})
    clock.move(1)
    assert not manager.is_degraded("reports")
    assert outside.of("failed")
    broken[0] = False
    clock.move(1)
    assert manager.is_degraded("reports")
    broken[0] = True
    for _ in range(10):
        clock.move(1)
        assert manager.is_degraded("reports")


def test_the_operators_degradation_is_the_operators_to_end(manager):
    manager.operator("reports", "being repaired")
    assert not manager.deactivate_degradation("reports")
    assert manager.degraded()[0]["by"] == "people"
    manager.operator("reports", None)
    assert not manager.is_degraded("reports")


def test_degraded_in_one_process_is_degraded_in_all_of_the_application(manager):
    outward.attach(Outside())
    other = DegradationManager()
    other.register_degradation_rule("reports", RULE)
    manager.activate_degradation("reports", "high_load")
    assert other.response("reports", "list") == RULE["degraded_responses"]["list"]
    assert other.deactivate_degradation("reports")
    assert not manager.is_degraded("reports")


def test_start_and_end_are_told(manager, clock):
    outside = Outside()
    outward.attach(outside)
    manager.activate_degradation("reports", "high_load", for_=10)
    clock.move(11)
    manager.tick()
    manager.tick()
    assert outside.of("changed") == [
        ("service", "reports", "normal", "degraded", "high_load", {"source": "program", "until": ANY}),
        ("service", "reports", "degraded", "normal", "its time is over", {"source": ""}),
    ]


@pytest.mark.parametrize(
    ("rule", "word"),
    [({"degraded_response": {}}, "degraded_response"), ([], "rule"), ({"degraded_responses": []}, "degraded_responses"),
     ({"trigger": 7}, "trigger"), ({"hold": 0}, "hold"), ({"degraded_responses": {7: {}}}, "operation")],
)  # fmt: skip
def test_what_is_no_rule_is_refused_by_name_and_changes_nothing(manager, rule, word):
    with pytest.raises(BadArgument, match=word):
        manager.register_degradation_rule("reports", rule)
    assert manager.operations("reports") == ["list", "generate"]


def test_normal_is_the_answer_for_a_service_that_nobody_knows(manager):
    assert not manager.is_degraded("nobody")
    assert manager.deactivate_degradation("nobody")
    assert manager.why("nobody")["reason"] == ""
    assert manager.operations("nobody") == []


# -- ServiceFallback


class Flaky:
    def __init__(self):
        self.down = False

    def __call__(self, key):
        if self.down:
            raise ConnectionError("password=hunter2")
        return f"real {key}"


def test_a_good_result_stays_usable_then_the_function_answers(manager, clock):
    service = Flaky()
    fallback = ServiceFallback("database", lambda key: f"made up {key}", cache_duration=300, manager=manager)
    ask = fallback(service)
    assert ask("a") == "real a"
    service.down = True
    assert ask("a") == "real a"
    assert ask("b") == "made up b"
    clock.move(301)
    assert ask("a") == "made up a"


def test_using_the_fallback_marks_the_service_degraded_until_it_is_no_longer_used(manager, clock):
    service = Flaky()
    service.down = True
    ask = ServiceFallback("database", lambda key: key, manager=manager)(service)
    ask("a")
    assert manager.degraded()[0]["reason"] == "fallback in use: ConnectionError"
    clock.move(20)
    ask("a")
    clock.move(20)
    assert manager.is_degraded("database")
    clock.move(11)
    assert not manager.is_degraded("database")


def test_living_on_the_fallback_does_not_give_the_rules_answers(manager):
    manager.register_degradation_rule("database", {"degraded_responses": {"get": "rule"}})
    fallback = ServiceFallback("database", lambda: "fallback", manager=manager)

    @manager.degradable("database", "get")
    @fallback
    def get():
        raise ConnectionError

    assert [get(), get()] == ["fallback", "fallback"]
    manager.activate_degradation("database", "high_load")
    assert get() == "rule"


def test_without_degraded_mode_the_service_is_not_marked(manager):
    fallback = ServiceFallback("database", lambda: "made up", degraded_mode=False, manager=manager)
    assert fallback.call(lambda: 1 / 0) == "made up"
    assert manager.degraded() == []


def test_an_async_call_and_an_async_fallback_function(manager):
    async def instead():
        return "made up"

    async def fails():
        raise ConnectionError

    fallback = ServiceFallback("database", instead, manager=manager)
    assert asyncio.run(fallback.acall(fails)) == "made up"
    assert asyncio.run(fallback(fails)()) == "made up"


def test_no_cache_means_always_the_function(manager):
    service = Flaky()
    ask = ServiceFallback("database", lambda key: f"made up {key}", cache_duration=0, manager=manager)(service)
    ask("a")
    service.down = True
    assert ask("a") == "made up a"


def test_what_is_no_exception_passes(manager):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ServiceFallback("database", lambda: "made up", manager=manager).call(interrupted)
    assert manager.degraded() == []


@pytest.mark.parametrize(
    "wrong",
    [{"service_name": ""}, {"fallback_function": "no"}, {"cache_duration": -1}, {"most": 0}, {"degraded_mode": "no"}],
)
def test_an_impossible_fallback_is_refused(wrong):
    given = {"service_name": "database", "fallback_function": print} | wrong
    with pytest.raises(BadArgument):
        ServiceFallback(**given)


def test_the_one_of_the_process_is_used_by_default():
    ServiceFallback("only here", lambda: 1).call(lambda: 1 / 0)
    try:
        assert degrade.degradation_manager.is_degraded("only here")
    finally:
        degrade.degradation_manager.deactivate_degradation("only here")


def test_a_recoverys_degradation_gives_the_rules_answers(manager):
    manager.activate_degradation("reports", "memory", 60, source=RECOVERY)
    assert manager.response("reports", "list") == RULE["degraded_responses"]["list"]
