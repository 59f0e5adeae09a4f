"""``--history-url``: a running agent uses the shared database, and a program does not care when that goes."""

from __future__ import annotations

import sys

import pytest

from support.running import Running, wait_for
from support.servers import Postgres

pytestmark = pytest.mark.live


def test_a_running_agent_writes_to_the_database_and_goes_on_without_it(service, tmp_path):
    psycopg = pytest.importorskip("psycopg")
    with Postgres(service("postgresql")) as server:
        options = ["--no-inject"]
        program = [sys.executable, "-c", "import time; time.sleep(600)"]
        env = {"ROADWORTHY_HISTORY_URL": server.url}
        with Running(tmp_path, program, name="shared", options=options, env=env) as running:
            running.agent()

            def sources():
                try:
                    with psycopg.connect(server.url) as connection:
                        return connection.execute("SELECT source FROM roadworthy_stores").fetchall()
                except psycopg.Error:
                    return None

            ((source,),) = wait_for(sources, "the agent made itself known")
            assert source.startswith("shared@")
            pid = running.worker_pid()
            server.stop()

            def told(snapshot):
                return [one for one in snapshot["verdict"]["findings"] if one["subject"] == "history"]

            seen = running.until(told, "that the database is away is shown")
            assert "database cannot be used" in told(seen)[0]["reason"]
            assert running.worker_pid() == pid
            found = running.get("/api/history?seconds=10&points=10&names=app.rss")
            assert any(value for _, value in found["series"]["app.rss"])
            server.start()
            running.until(lambda snapshot: not told(snapshot), "that it is back is shown")
