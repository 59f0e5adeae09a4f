"""What an injected program pays at its start: no module that costs milliseconds, under the keeper or not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "src" / "roadworthy"
DEAR = {
    "asyncio", "collections", "contextlib", "dataclasses", "enum", "functools", "importlib", "inspect", "json",
    "logging", "pathlib", "re", "signal", "socket", "threading", "traceback", "types", "typing", "warnings",
}  # fmt: skip
LOADED = "import sys; print('\\n'.join(sys.modules))"


def loaded(code, tmp_path, *arguments, **env):
    """Return the modules of an isolated interpreter (no site-packages) after ``code``."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ROADWORTHY_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"{code}; {LOADED}", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**inherited, "HOME": str(tmp_path), "PYTHONPATH": str(PACKAGE.parent), **env},
    )
    assert "roadworthy:" not in done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("under_keeper", [True, False], ids=["under the keeper", "alone"])
def test_the_injected_runtime_starts_without_modules_that_cost_milliseconds(tmp_path, under_keeper):
    arenas = tmp_path / "arenas"
    places = (
        {"ROADWORTHY_ARENA_DIR": str(arenas), "ROADWORTHY_APP": "web", "ROADWORTHY_RUN_DIR": str(tmp_path)}
        if under_keeper
        else {"ROADWORTHY_HOME": str(tmp_path)}
    )
    found = loaded("from roadworthy.app.inject.boot import boot; boot()", tmp_path, "--port", "80", **places)
    assert found & DEAR == set()
    assert "roadworthy.arena.writer" in found, "the arena is there"


def test_the_whole_public_interface_loads_without_them_too(tmp_path):
    code = "import roadworthy as rw; rw.start('x'); rw.operation('a').__enter__(); rw.counter('c').add(); rw.event('e')"
    assert loaded(code, tmp_path, ROADWORTHY_HOME=str(tmp_path)) & DEAR == set()


@pytest.mark.parametrize("value", ["plain", 'a "quoted" \\path', "ünïcode\n", 7, None, True, ["a", "b"], 1.5])
def test_the_description_of_a_program_is_json_written_by_hand_or_not(value):
    from roadworthy.arena.store import _json

    assert json.loads(_json({"command": value, "instrumented": [value, "x"]})) == {
        "command": value,
        "instrumented": [value, "x"],
    }
