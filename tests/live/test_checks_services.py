"""The checks of databases against real servers, in both states: well, and refused, wrong, stopped or frozen."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from roadworthy.agent import probes
from roadworthy.types import Status
from support.running import Running
from support.servers import Postgres, Redis

pytestmark = pytest.mark.live
PASSWORD = "very-secret-word"


@pytest.fixture(scope="module")
def redis(service):
    with Redis(service("redis-server")) as server:
        yield server


@pytest.fixture(scope="module")
def guarded_redis(service):
    with Redis(service("redis-server"), PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def postgres(service):
    with Postgres(service("postgresql")) as server:
        yield server


@pytest.fixture(scope="module")
def guarded_postgres(service):
    with Postgres(service("postgresql"), PASSWORD) as server:
        yield server


def ask(url):
    found = asyncio.run(asyncio.wait_for(probes.probe_for(url)(), 20))
    assert PASSWORD not in found.detail
    return found


def without_psycopg(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)


def test_redis_answers(redis, guarded_redis):
    assert (ask(redis.url).status, ask(redis.url).detail) == (
        Status.OK,
        f"127.0.0.1:{redis.port} answers PING",
    )
    assert ask(guarded_redis.url).status is Status.OK
    assert ask(redis.url.replace("redis://", "valkey://")).status is Status.OK


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: url.replace(PASSWORD, "wrong"), "WRONGPASS"),
        (lambda url: url.replace(f":{PASSWORD}@", ""), "NOAUTH"),
        (lambda url: url.rpartition("/")[0] + "/999", "out of range"),
    ],
    ids=["a wrong password", "no password", "a database that is not there"],
)
def test_redis_that_refuses_is_unhealthy_and_says_why(guarded_redis, change, said):
    found = ask(change(guarded_redis.url))
    assert found.status is Status.UNHEALTHY
    assert said in found.detail


def test_redis_that_stopped_is_unhealthy_and_well_again_when_it_is_back(service):
    with Redis(service("redis-server")) as server:
        assert ask(server.url).status is Status.OK
        server.stop()
        assert ask(server.url).status is Status.UNHEALTHY
        assert "refuses connections" in ask(server.url).detail
        server.start()
        assert ask(server.url).status is Status.OK


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgresql_answers_through_psycopg(postgres, guarded_postgres, scheme):
    pytest.importorskip("psycopg")
    for server in (postgres, guarded_postgres):
        found = ask(server.url.replace("postgresql", scheme, 1))
        assert (found.status, found.detail) == (Status.OK, f"127.0.0.1:{server.port} answers SELECT 1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: url.replace(PASSWORD, "wrong"), "password authentication failed"),
        (lambda url: url.replace("/postgres", "/nothing"), "does not exist"),
    ],
    ids=["a wrong password", "a database that is not there"],
)
def test_postgresql_that_refuses_is_unhealthy_and_says_why(guarded_postgres, change, said):
    pytest.importorskip("psycopg")
    found = ask(change(guarded_postgres.url))
    assert found.status is Status.UNHEALTHY
    assert said in found.detail


def test_postgresql_is_verified_without_psycopg_where_no_password_is_asked_for(postgres, monkeypatch):
    without_psycopg(monkeypatch)
    assert ask(postgres.url).status is Status.OK
    assert ask(postgres.url.replace("/postgres", "/nothing")).status is Status.UNHEALTHY


def test_postgresql_that_asks_for_a_password_is_unknown_without_psycopg(guarded_postgres, monkeypatch):
    without_psycopg(monkeypatch)
    found = ask(guarded_postgres.url)
    assert found.status is Status.UNKNOWN
    assert "psycopg is missing" in found.detail


@pytest.mark.parametrize("installed", [True, False], ids=["with psycopg", "without"])
def test_postgresql_that_stopped_is_unhealthy_and_well_again_when_it_is_back(service, monkeypatch, installed):
    if installed:
        pytest.importorskip("psycopg")
    else:
        without_psycopg(monkeypatch)
    with Postgres(service("postgresql")) as server:
        assert ask(server.url).status is Status.OK
        server.stop()
        assert ask(server.url).status is Status.UNHEALTHY
        server.start()
        assert ask(server.url).status is Status.OK


def test_a_frozen_server_is_seen_by_the_running_agent_and_its_recovery_too(service, tmp_path):
    """The check has its own time limit: a server that accepts and never answers must not look well."""
    with Redis(service("redis-server")) as server:
        options = ["--check", f"cache={server.url}", "--check-every", "1s", "--no-inject"]
        program = [sys.executable, "-c", "import time; time.sleep(600)"]
        with Running(tmp_path, program, name="cached", options=options) as running:
            running.agent()

            def status(snapshot):
                return next((one["status"] for one in snapshot["checks"] if one["name"] == "cache"), None)

            running.until(lambda snapshot: status(snapshot) == "ok", "the cache is well")
            os.kill(server.process.pid, signal.SIGSTOP)
            try:
                running.until(lambda snapshot: status(snapshot) == "unhealthy", "the frozen cache is seen", 60)
            finally:
                os.kill(server.process.pid, signal.SIGCONT)
            running.until(lambda snapshot: status(snapshot) == "ok", "the cache is well again", 60)
