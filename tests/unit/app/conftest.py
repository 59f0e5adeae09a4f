"""The runtime of the test process, in a place of its own, and programs for what a process has only once."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "src"


@pytest.fixture
def seen():
    from roadworthy.testing import recording

    with recording() as recorded:
        yield recorded


@pytest.fixture
def program(tmp_path):
    """Return a function that runs a program in an interpreter of its own and returns what came of it."""

    def run(text, *arguments, check=True, measured=True, **env):
        file = tmp_path / "program.py"
        file.write_text(textwrap.dedent(text))
        not_for_it = ("ROADWORTHY_",) if measured else ("ROADWORTHY_", "COVERAGE_")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(not_for_it)}
        done = subprocess.run(
            [sys.executable, str(file), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=inherited | {"ROADWORTHY_HOME": str(tmp_path / "home"), "PYTHONPATH": str(SOURCE)} | env,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    return run
