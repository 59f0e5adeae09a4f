"""What the agent's process does without."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from roadworthy.agent.lean import AGENT, own_process, prepare, without

if TYPE_CHECKING:
    from pathlib import Path

LEFT = "wave"
HEAVY = {
    "click", "configparser", "cryptography", "ctypes", "logging.config", "multiprocessing", "orjson", "psutil",
    "pydantic", "roadworthy.keeper.output", "socketserver", "uvicorn.main",
}  # fmt: skip


def test_the_agents_own_process_imports_nothing_heavy(tmp_path: Path) -> None:
    argv = [sys.executable, "-X", "importtime", "-P", "-m", AGENT, str(tmp_path / "nowhere")]
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    found = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, env=unmeasured)
    imported = {
        line.rpartition("|")[2].strip() for line in found.stderr.splitlines() if line.startswith("import time:")
    }
    assert "uvicorn.protocols.http.h11_impl" in imported
    assert "run.json cannot be used" in found.stderr
    assert imported & HEAVY == set()


def test_another_process_that_uses_a_part_of_the_agent_has_all_of_uvicorn() -> None:
    asks = "import roadworthy.agent.server, uvicorn; print(uvicorn.run.__name__)"
    found = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout == "run\n"
    assert not own_process()


def test_what_was_left_out_can_be_imported_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, LEFT, raising=False)
    with without([LEFT]):
        from wave import Wave_read as left_out
    from wave import Wave_read

    assert left_out is None
    assert Wave_read is not None


def test_what_is_imported_already_is_not_left_out() -> None:
    before = sys.modules["json"]
    with without(["json"]):
        import json
    assert json is before
    assert sys.modules["json"] is before


@pytest.mark.parametrize(
    ("text", "why_not"),
    [
        ("from wave import Wave_read\n", ""),
        ("import wave\nfrom roadworthy.agent.lean import nothing_of_this_name\n", "ImportError"),
    ],
)
def test_a_package_that_cannot_do_without_is_imported_as_always_later(
    text: str, why_not: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lean_example.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, LEFT, raising=False)
    assert prepare("lean_example", [LEFT]) is (not why_not)
    assert ("lean_example" in sys.modules) is (not why_not)
    assert LEFT not in sys.modules
    sys.modules.pop("lean_example", None)
