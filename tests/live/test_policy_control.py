"""People steer a real program's policies, features and services, and it obeys; the agent may die in between."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from roadworthy.cli.socket import ask
from support.running import ROADWORTHY, Running, start_ticks, wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

HOST = Path(__file__).parent / "hosts/guarded_calls.py"


class Guarded(Running):
    """The program that calls a backend under policies, and what it says of itself."""

    folder: Path

    def seen(self) -> dict[str, Any]:
        """Return what the program knows, whatever the agent shows."""
        found: dict[str, Any] = json.loads((self.folder / "seen.json").read_text())
        return found

    def until_seen(self, condition: Any, what: str, timeout: float = 30.0) -> dict[str, Any]:
        """Return the program's own word for which ``condition`` holds."""
        found: dict[str, Any] = wait_for(lambda: (seen := self.seen()) and condition(seen) and seen, what, timeout)
        return found

    def do(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a verb of the command line to its end."""
        return subprocess.run(
            [*ROADWORTHY, *arguments], env=self.env, capture_output=True, text=True, timeout=120, check=False
        )

    def ask(self, method: str, path: str, token: str | None = None) -> tuple[int, dict[str, Any]]:
        """Ask the operations API over HTTP, with the token of the run directory or another."""
        told = json.loads((self.run_dir / "agent.json").read_text())
        token = (self.run_dir / "token").read_text().strip() if token is None else token
        connection = http.client.HTTPConnection(urlsplit(told["url"]).netloc, timeout=60)
        try:
            connection.request(method, path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def kill_agent(self) -> None:
        """Kill the agent and wait for the next one."""
        told = self.agent()
        os.kill(told["pid"], signal.SIGKILL)
        wait_for(lambda: start_ticks(told["pid"]) != told["start_ticks"], "the agent has died")
        wait_for(lambda: self.agent()["pid"] != told["pid"], "another agent answers")
        self.until(lambda s: s["agent_pid"] != told["pid"], "the new agent has measured")

    def policy(self) -> dict[str, Any]:
        """Return the policy ``db`` as the agent shows it."""
        found: dict[str, Any] = next(one for one in self.snapshot()["policies"] if one["name"] == "db")
        return found

    def records(self) -> list[dict[str, Any]]:
        """Return the audit trail."""
        return [json.loads(line) for line in (self.state_dir / "audit.jsonl").read_text().splitlines()]


@pytest.fixture
def guarded(tmp_path) -> Iterator[Guarded]:
    folder = tmp_path / "folder"
    folder.mkdir()
    with Guarded(tmp_path / "home", [sys.executable, str(HOST), str(folder)], name="guarded") as running:
        running.folder = folder
        running.agent()
        running.until_seen(lambda seen: seen["ok"] > 5, "the program calls")
        running.until(
            lambda s: (
                {one["name"] for one in s["services"]} >= {"database", "engine", "reports"}
                and any(one["name"] == "db" and one["breaker"] == "closed" for one in s["policies"])
            ),
            "the agent knows policies and services",
        )
        yield running


def refuses(seen: dict[str, Any]) -> bool:
    return bool(seen["last"] == "BreakerOpen")


def test_a_breaker_that_is_forced_open_rejects_every_call_also_after_the_agent_s_and_the_worker_s_death(guarded):
    done = guarded.do("policy", "force", "db", "forced_open", "--for", "10m", "--reason", "maintenance")
    assert (done.returncode, done.stdout) == (0, "force db: held, forced open for 600 s\n"), done.stderr
    first = guarded.until_seen(refuses, "the program's calls are rejected")
    later = guarded.until_seen(lambda seen: seen["refused"] >= first["refused"] + 40, "many calls are rejected")
    assert later["backend"] == first["backend"]
    shown = guarded.until(lambda s: guarded.policy()["breaker"] == "forced_open", "the agent shows it")
    assert shown["verdict"]["status"] == "degraded"
    assert "maintenance" in guarded.do("status").stdout

    guarded.kill_agent()
    policy = guarded.policy()
    assert (policy["forced"], policy["forced_reason"]) == ("forced_open", "maintenance")
    still = guarded.until_seen(lambda seen: seen["refused"] >= later["refused"] + 40, "calls are still rejected")
    assert still["backend"] == first["backend"]

    os.kill(guarded.worker_pid(), signal.SIGKILL)
    new = guarded.until_seen(lambda seen: seen["pid"] != still["pid"] and refuses(seen), "the new process rejects, too")
    more = guarded.until_seen(lambda seen: seen["refused"] >= new["refused"] + 40, "and goes on to")
    assert more["backend"] == new["backend"]

    done = guarded.do("policy", "reset", "db", "--json")
    assert json.loads(done.stdout)["outcome"] == "released"
    guarded.until_seen(lambda seen: seen["last"] == "ok", "calls pass again")
    guarded.until(lambda s: guarded.policy()["breaker"] == "closed", "the agent shows it")
    assert [(one["act"], one["target"], one["reason"]) for one in guarded.records()] == [
        ("force", "db", "maintenance"),
        ("reset", "db", ""),
    ]
    assert all(one["actor"].startswith("command line, ") for one in guarded.records())


def test_a_force_with_a_time_ends_by_itself(guarded):
    assert guarded.do("policy", "force", "db", "forced_open", "--for", "3s").returncode == 0
    guarded.until_seen(refuses, "calls are rejected")
    guarded.until_seen(lambda seen: seen["last"] == "ok", "calls pass again")
    guarded.until(
        lambda s: guarded.policy()["forced"] is None and guarded.policy()["breaker"] == "closed", "it is shown"
    )


def test_a_feature_is_switched_off_over_http_and_on_again_and_the_agent_s_death_does_not_bring_it_back(guarded):
    status, done = guarded.ask("POST", "/api/features/reports/off?reason=high_load")
    assert (status, done["outcome"], done["audited"]) == (200, "held", True)
    guarded.until_seen(lambda seen: seen["reports"] is False, "the feature is off in the program")
    guarded.kill_agent()
    shown = guarded.until(lambda s: s["features"], "the new agent knows features")["features"]
    assert [(one["name"], one["off"], one["reason"], one["by"]) for one in shown] == [
        ("reports", True, "high_load", "people")
    ]
    assert guarded.seen()["reports"] is False
    assert guarded.ask("DELETE", "/api/features/reports/off")[0] == 200
    guarded.until_seen(lambda seen: seen["reports"] is True, "the feature is on again")
    guarded.until(lambda s: s["features"][0]["off"] is False, "the agent shows it")


def test_a_service_is_degraded_and_restored(guarded):
    status, done = guarded.ask("POST", "/api/performance/errors/services/reports/degrade?reason=high_load&for=600")
    assert (status, done["outcome"]) == (200, "held")
    guarded.until_seen(lambda seen: seen["degraded"], "the program degrades")
    detailed = wait_for(
        lambda: (found := guarded.get("/health/detailed"))["degraded_components"] and found, "health shows it", 10
    )
    assert [(one["kind"], one["name"], one["reason"], one["by"]) for one in detailed["degraded_components"]] == [
        ("service", "reports", "high_load", "people")
    ]
    assert detailed["breakers"]["db"] == "closed"
    assert guarded.ask("DELETE", "/api/performance/errors/services/reports/degrade")[0] == 200
    guarded.until_seen(lambda seen: not seen["degraded"], "the program is as always")


def test_a_dead_backend_opens_the_breaker_and_its_return_closes_it_and_both_are_seen(guarded):
    (guarded.folder / "broken").touch()
    (guarded.folder / "down").touch()
    guarded.until_seen(refuses, "the breaker opens")
    policy = wait_for(lambda: (found := guarded.policy())["breaker"] == "open" and found, "the agent shows it open")
    assert policy["reason"]
    assert policy["retry_at"] > policy["since"]
    guarded.kill_agent()
    policy = wait_for(
        lambda: (found := guarded.policy())["breaker"] == "open" and found, "the next agent shows it open"
    )
    assert policy["reason"]
    assert policy["retry_at"] > policy["since"]
    shown = guarded.until(lambda s: any(one["state"] == "down" for one in s["services"]), "the service is down")
    service = next(one for one in shown["services"] if one["name"] == "database")
    assert service["breaker"] in {"open", "half_open"}
    assert guarded.do("status").returncode == 0
    for name in ("down", "broken"):
        (guarded.folder / name).unlink()
    guarded.until_seen(lambda seen: seen["last"] == "ok", "the breaker closes")
    wait_for(lambda: (found := guarded.policy())["breaker"] == "closed" and found["retry_at"] is None, "it is shown")


def test_recover_runs_the_program_s_own_procedure_and_says_whether_it_helped(guarded):
    before = guarded.seen()["recoveries"]
    done = guarded.do("service", "recover", "database", "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"], answer["outcome"]) == (0, True, "recovered"), answer
    assert [one["pid"] for one in answer["processes"]] == [guarded.worker_pid()]
    assert guarded.until_seen(lambda seen: seen["recoveries"] > before, "the procedure ran")
    done = guarded.do("service", "recover", "database")
    assert (done.returncode, "a moment ago" in done.stderr) == (75, True)


def test_restart_replaces_the_worker_of_the_service(guarded):
    before = guarded.worker_pid()
    status, done = guarded.ask("POST", "/health/services/engine/restart?reason=by+hand")
    assert (status, done["act"], done["outcome"]) == (202, "restart", "begun")
    guarded.until_seen(lambda seen: seen["pid"] != before and seen["ok"], "another process calls")
    guarded.until(lambda s: any("restart of engine" in event["text"] for event in s["events"]), "it is in the events")
    assert [one["act"] for one in guarded.records()] == ["restart"]


def test_what_the_program_itself_asks_for_is_in_the_trail_and_never_comes_twice_at_once(guarded):
    before = guarded.worker_pid()
    wish = {"do": "restart", "slot": 0, "reason": "the same error\nagain and again"}
    assert ask(guarded.run_dir / "agent.sock", wish)["outcome"] == "begun"
    guarded.until_seen(lambda seen: seen["pid"] != before and seen["ok"], "another process calls")
    refused = ask(guarded.run_dir / "agent.sock", wish)
    assert (refused["ok"], "a moment ago" in refused["what"]) == (False, True)
    (record,) = guarded.records()
    assert (record["actor"], record["act"], record["target"]) == ("program", "restart", "worker-0")
    assert record["reason"] == "the same error again and again"


def test_the_figures_are_prometheus_metrics(guarded):
    told = guarded.agent()
    with urllib.request.urlopen(f"{told['url']}metrics", timeout=10) as answer:  # noqa: S310 - the agent's own address
        lines = answer.read().decode().splitlines()
    assert any(
        one.startswith("resilience_calls_total{") and 'outcome="success"' in one and 'policy="db"' in one
        for one in lines
    )
    states = {
        one.partition("{")[2].partition("}")[0]: float(one.split()[-1])
        for one in lines
        if one.startswith("resilience_breaker_state{")
    }
    assert states['policy="db"'] == 0.0


@pytest.mark.parametrize(
    ("method", "path", "token", "code"),
    [
        ("POST", "/api/policies/nope/reset", None, (404, "no-such-name")),
        ("POST", "/api/policies/db/force?state=ajar", None, (400, "bad-parameter")),
        ("POST", "/api/policies/db/force?state=disabled&for=-5", None, (400, "bad-parameter")),
        ("POST", "/api/performance/errors/services/nope/recover", None, (404, "no-such-name")),
        ("POST", "/api/features/reports/off", "wrong", (401, "no-token")),
    ],
)
def test_bad_input_changes_nothing(guarded, method, path, token, code):
    status, problem = guarded.ask(method, path, token)
    assert (status, problem["code"]) == code
    if token is None:
        assert not (guarded.state_dir / "audit.jsonl").exists()
    else:
        assert [(one["act"], one["event_type"]) for one in guarded.records()] == [("refused", "no-token")]
    assert not (guarded.state_dir / "switches.json").exists()
