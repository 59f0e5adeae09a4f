"""Features, services and recoveries are shown in the arena, and steered by the control page, in every process."""

import json
import os
import socket as sockets
import time

import pytest

from roadworthy.app import pulse, services, socket, start
from roadworthy.resilience import CircuitBreakerConfig, outward
from roadworthy.resilience.degrade import degradation_manager
from roadworthy.resilience.feature import feature, forget
from roadworthy.resilience.recover import manager as managers
from roadworthy.resilience.recover.context import ErrorContext, RecoveryAction


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing remembered, and nobody but the test looks after things: our own thread would do so at its own time."""
    monkeypatch.setattr(services, "_begin", lambda: None)
    pulse._duties.pop("services", None)
    forget()
    managers.forget()
    outward.attach(None)
    services.install()
    yield
    services.apply({})
    services._look()
    for name in degradation_manager.services():
        degradation_manager.deactivate_degradation(name)
    for one in list(services.features()):
        one.on()
    managers.forget()
    forget()


def page(**wanted):
    return {"resilience": wanted}


def test_a_feature_that_is_off_is_in_the_gauge_in_the_events_and_in_what_the_agent_is_told(seen):
    feature("reports").off(reason="high_load", for_=300)
    assert seen.gauge("resilience.feature.off", feature="reports") == 1
    event = next(one for one in seen.events("state") if one.source == "feature:reports")
    assert event.text == "feature reports: on -> off"
    assert event.fields["reason"] == "high_load"
    [told] = [one for one in socket.declaration()["features"] if one["name"] == "reports"]
    assert (told["off"], told["reason"], told["by"]) == (True, "high_load", "program")
    assert told["until"] - told["since"] == pytest.approx(300, abs=1)
    feature("reports").on()
    assert seen.gauge("resilience.feature.off", feature="reports") == 0


def test_what_the_page_says_of_features_is_done_and_what_it_no_longer_says_is_taken_back(seen):
    services.apply(
        page(features={"reports": {"off": True, "reason": "being repaired", "until_wall": None, "epoch": 1}})
    )
    assert feature("reports").is_off
    assert feature("reports").describe()["by"] == "people"
    assert not feature("reports").on()
    assert seen.gauge("resilience.feature.off", feature="reports") == 1
    services.apply(page(features={}))
    assert feature("reports").is_on
    services.apply(
        page(features={"reports": {"off": True, "reason": "again", "until_wall": time.time() - 1, "epoch": 2}})
    )
    assert feature("reports").is_on, "its time was over before it was told"


def test_peoples_word_that_it_be_on_goes_over_the_programs_off():
    feature("reports").off("high_load")
    degradation_manager.activate_degradation("mail", "slow")
    back = {"reason": "", "until_wall": time.time() + 30, "epoch": 5}
    services.apply(page(features={"reports": {"off": False, **back}}, services={"mail": {"degraded": False, **back}}))
    services._look()
    assert feature("reports").is_on
    assert not degradation_manager.is_degraded("mail")
    feature("reports").off("high_load again")
    services.apply(page(features={"reports": {"off": False, **back}}))
    services._look()
    assert feature("reports").is_off, "said once, done once"


def test_a_service_that_people_degrade_gives_its_degraded_answers():
    degradation_manager.register_degradation_rule("reports", {"degraded_responses": {"list": {"reports": []}}})
    services.apply(page(services={"reports": {"degraded": True, "reason": "high_load", "until_wall": None}}))
    assert degradation_manager.response("reports", "list") == {"reports": []}
    [told] = [one for one in socket.declaration()["services"] if one["name"] == "reports"]
    assert (told["state"], told["reason"], told["by"]) == ("degraded", "high_load", "people")
    services.apply({})
    assert degradation_manager.response("reports", "list") is None


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"resilience": None},
        {"resilience": []},
        {"resilience": {"features": [1]}},
        {"resilience": {"features": {"x": 7}}},
        {"resilience": {"features": {"": {"off": True}, "x" * 99: {"off": True}}}},
        {"resilience": {"features": {"ok": {"off": "yes", "until_wall": "soon"}}}},
        {"resilience": {"services": {"a\nb": {"degraded": True}}}},
    ],
)
def test_a_page_that_is_nonsense_changes_nothing_and_raises_nothing(value):
    services.apply(value)
    assert all(one.is_on for one in services.features())
    assert degradation_manager.degraded() == []


def test_a_recovery_is_counted_by_what_the_next_call_proved(seen):
    manager = managers.get_error_recovery()
    manager.handle_error(ConnectionError("password=hunter2"), ErrorContext("db", "load", player="p"))
    manager.succeeded("db", "load")
    assert (
        seen.count("resilience.recoveries", component="db", kind="connection", action="retry", outcome="success") == 1
    )
    assert seen.count("errors", operation="load", type="ConnectionError") == 1
    [error] = seen.errors()
    assert error.fields["context.component"] == "db"
    assert "hunter2" not in str(error.fields) + error.text


def test_a_security_error_is_an_event_of_its_own(seen):
    managers.get_error_recovery().handle_error(PermissionError(), ErrorContext("files", "open"))
    [event] = [one for one in seen.events("log") if one.source == "security"]
    assert event.text.startswith("security: permission_denied: PermissionError")


def test_the_agent_is_told_of_services_and_may_have_them_recovered():
    reconnects = []
    manager = managers.get_error_recovery()
    manager.register_service(
        "db", CircuitBreakerConfig(), recover=lambda: reconnects.append(1), check=lambda: bool(reconnects)
    )
    [told] = [one for one in socket.declaration()["services"] if one["name"] == "db"]
    assert (told["state"], told["recover"], told["restart"], told["breaker"]) == ("unknown", True, False, "closed")
    json.dumps(told)
    answer = socket.handle({"id": 7, "do": "recover", "name": "db"})
    assert {key: answer[key] for key in ("id", "ok", "detail")} == {
        "id": 7,
        "ok": True,
        "detail": "recovered: its check is good",
    }
    answer = socket.handle({"id": 8, "do": "recover", "name": "nobody"})
    assert not answer["ok"]
    assert "nobody" in answer["detail"]


def test_the_agent_goes_on_to_the_restart_itself(monkeypatch):
    asked = []
    monkeypatch.setattr(services.live, "ask_restart", lambda reason: asked.append(reason) or True, raising=False)
    manager = managers.get_error_recovery()
    manager.register_service("db", recover=lambda: 1 / 0, restart=True, check=lambda: True)
    assert not socket.handle({"id": 1, "do": "recover", "name": "db"})["ok"]
    assert asked == []


def test_a_restart_is_asked_of_the_agent_without_waiting(tmp_path, monkeypatch, seen):
    monkeypatch.setenv("ROADWORTHY_RUN_DIR", str(tmp_path))
    assert not services.live.ask_restart("why"), "without a slot nobody could do it"
    monkeypatch.setenv("ROADWORTHY_SLOT", "3")
    assert not services.live.ask_restart("why"), "there is no agent"
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as agent:
        agent.bind(str(tmp_path / socket.SOCKET))
        agent.listen()
        assert services.live.ask_restart("stuck password=hunter2")
        end, _ = agent.accept()
        with end:
            end.settimeout(10)
            said = [json.loads(line) for line in end.makefile("rb").read().splitlines()]
    assert said[0] == {"hello": "cli"}
    assert (said[1]["do"], said[1]["slot"]) == ("restart", 3)
    assert "hunter2" not in str(said)
    assert [one for one in seen.events("state") if one.source == "recovery"]


def test_emergency_state_is_kept_where_the_application_keeps_its_state(monkeypatch):
    monkeypatch.delenv("ROADWORTHY_SLOT", raising=False)
    place = services.live.state_directory()
    assert place.startswith(os.environ["ROADWORTHY_HOME"])
    assert place.endswith(start.name())
    monkeypatch.setenv("ROADWORTHY_SLOT", "1")
    assert services.live.state_directory() == f"{place}/worker-1"
    manager = managers.get_error_recovery()
    manager.critical("world")
    manager.emergency_state(lambda: {"turn": 7})
    assert manager.handle_error(MemoryError(), ErrorContext("world")) in {RecoveryAction.RETRY, RecoveryAction.SHUTDOWN}
    assert manager.load_emergency_state()["state"] == {"turn": 7}


def test_off_in_one_process_is_off_in_a_forked_one():
    feature("reports").off("high_load")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if feature("reports").is_off and feature("reports").on() else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert feature("reports").is_on


def test_off_in_one_process_is_off_in_one_that_was_started_independently(program):
    feature("reports").off("high_load", for_=60)
    done = program(
        """
        import roadworthy
        from roadworthy.resilience import feature
        roadworthy.start("unit")
        print(feature("reports").is_off, feature("reports").reason, feature("reports").on())
        """,
        ROADWORTHY_HOME=os.environ["ROADWORTHY_HOME"],
    )
    assert done.stdout == "True high_load True\n"
    assert feature("reports").is_on


def test_a_program_that_uses_none_of_it_loads_none_of_it(program):
    done = program(
        """
        import sys
        import roadworthy
        roadworthy.start("plain")
        with roadworthy.operation("x"):
            pass
        names = [name for name in sys.modules if name.startswith("roadworthy.")]
        assert "roadworthy.app.services" not in names, names
        assert "roadworthy.resilience.switch" not in names, names
        from roadworthy.resilience import feature
        feature("x").off("why")
        assert "roadworthy.app.services" in sys.modules
        print("good")
        """
    )
    assert done.stdout == "good\n"
    assert done.stderr == ""
