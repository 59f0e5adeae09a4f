"""A real run takes its settings from files, and takes changes over while it runs, or refuses them as a whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request

import pytest

from support.running import ROADWORTHY, Running, wait_for

pytestmark = pytest.mark.live


def roadworthy(run, *arguments, code=0):
    done = subprocess.run(
        [*ROADWORTHY, *arguments], env=run.env, cwd=run.home, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows(run):
    return {row["key"]: row for row in json.loads(roadworthy(run, "config", "show", "web", "--json"))["settings"]}


def post(run, path, method="POST", *, token=True):
    told = json.loads((run.run_dir / "agent.json").read_text())
    headers = {"Authorization": f"Bearer {(run.run_dir / 'token').read_text().strip()}"} if token else {}
    request = urllib.request.Request(told["url"].rstrip("/") + path, method=method, headers=headers)  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


PROGRAM = """
import logging, sys, time
import roadworthy
from roadworthy.config import Settings

class Mine(Settings, prefix="MINE"):
    speed: int = 1

mine = Mine.load()
mine.subscribe(lambda now, names: print("told", names, now.speed, flush=True))
roadworthy.start()
print("begun", mine.speed, flush=True)
while True:
    time.sleep(0.1)
    logging.getLogger("x").debug("chatter")
"""


def test_a_run_lives_by_its_file_and_takes_changes_over_or_refuses_them(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    for name in ("ENV", "DEBUG", "LOG_LEVEL", "PORT", "WORKERS"):
        monkeypatch.delenv(name, raising=False)
    file = home / "roadworthy.toml"
    begin = 'name = "web"\nlog_level = "warning"\nreport.every = 0\n'
    file.write_text(f'{begin}grace = "3s"\n[app]\nspeed = 2\n')
    (home / ".env").write_text("ROADWORTHY_HANG_AFTER=9s\n")
    (home / "main.py").write_text(PROGRAM)
    run = Running(home, ["python", "main.py"], name="web")
    run.argv = [*ROADWORTHY, "run", "--set", "hang.progress_after=30s", "--", os.sys.executable, "main.py"]
    with run:
        run.agent()
        wait_for(lambda: "begun 2" in run.text(), "the program reads [app]")
        settings = json.loads((run.run_dir / "run.json").read_text())
        assert (settings["app"], settings["log_level"], settings["stop_grace"]) == ("web", "warning", 3.0)
        assert (settings["hang"]["after"], settings["hang"]["progress_after"]) == (9.0, 30.0)
        found = rows(run)
        assert found["grace"]["origin"] == "roadworthy.toml:4"
        assert found["hang.after"]["origin"] == ".env:1 (ROADWORTHY_HANG_AFTER)"

        assert "grace is 4.0" in roadworthy(run, "config", "set", "grace", "4s", "web")
        assert "log_level" in roadworthy(run, "config", "set", "log_level", "debug", "web", "--for", "6s")
        wait_for(lambda: rows(run)["log_level"]["value"] == "debug", "debug is in force")
        os.kill(json.loads((run.run_dir / "agent.json").read_text())["pid"], signal.SIGKILL)  # it survives the agent
        wait_for(lambda: run.agent() and rows(run)["grace"]["value"] == 4.0, "the next agent has the change")
        wait_for(lambda: rows(run)["log_level"]["value"] == "warning", "the change has ended by itself")

        file.write_text(f'{begin}grace = "3s"\nworkers = 0\nready_timeout = "x"\n[app]\nspeed = 3\n')
        assert "2 settings are wrong" in roadworthy(run, "config", "reload", "web", code=3)
        assert post(run, "/api/config/reload")[0] == 409
        assert "told" not in run.text()
        file.write_text(f'{begin}grace = "3s"\nworkers = 2\nready_timeout = "50s"\n[app]\nspeed = 3\n')
        assert "workers needs a restart" in roadworthy(run, "config", "reload", "web")
        wait_for(lambda: "told ('speed',) 3" in run.text(), "the program's own settings are reloaded")
        assert (rows(run)["ready_timeout"]["value"], rows(run)["grace"]["value"]) == (50.0, 4.0)

        assert post(run, "/api/config/set?key=grace&value=2s&for=60", token=False)[0] in {401, 403}
        status, answer = post(run, "/api/config/set?key=grace&value=2s&for=60&reason=why")
        assert (status, answer["changed"][0]["new"], answer["audited"]) == (200, 2.0, True)
        assert post(run, "/api/config/set?key=workers&value=2")[0] == 400
        assert post(run, "/api/config/set?key=nothing&value=2")[0] == 404
        assert post(run, "/api/config/set?key=grace", method="DELETE")[1]["changed"][0]["new"] == 3.0
        file.write_text(f'{begin}grace = "6s"\n[app]\nspeed = 4\n')
        os.kill(json.loads((run.run_dir / "agent.json").read_text())["pid"], signal.SIGHUP)
        wait_for(lambda: rows(run)["grace"]["value"] == 6.0, "SIGHUP has the configuration read anew")
        trail = [json.loads(line) for line in (run.state_dir / "audit.jsonl").read_text().splitlines()]
        acts = [(one["act"], one["target"], one.get("old"), one.get("new")) for one in trail]
        assert ("config set", "grace", 3.0, 4.0) in acts
        assert ("config revert", "log_level", "debug", "warning") in acts
        roadworthy(run, "stop", "web")
    assert [path.name for path in (home / "run").iterdir()] == []
