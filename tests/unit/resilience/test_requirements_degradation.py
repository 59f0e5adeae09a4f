"""DEG-01 to DEG-04 in the words of the requirement list, and in the example that shows them."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from roadworthy.resilience import ServiceFallback, degradation_manager

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def normal_again():
    yield
    for name in degradation_manager.services():
        degradation_manager.deactivate_degradation(name)


def test_the_calls_of_the_requirement_list_work_as_they_are_written():
    fallback = ServiceFallback(
        service_name="database", fallback_function=lambda: "made up", degraded_mode=True, cache_duration=300
    )
    assert fallback.call(lambda: 1 / 0) == "made up"
    assert degradation_manager.is_degraded("database")
    degradation_manager.register_degradation_rule(
        "reports",
        {
            "degraded_responses": {
                "list": {"reports": [], "message": "Report service degraded"},
                "generate": {"status": "queued", "message": "Generation queued"},
            }
        },
    )
    assert degradation_manager.response("reports", "list") is None
    degradation_manager.activate_degradation("reports", "high_load")
    assert degradation_manager.response("reports", "list") == {"reports": [], "message": "Report service degraded"}
    assert degradation_manager.response("reports", "generate") == {"status": "queued", "message": "Generation queued"}
    assert {one["name"]: one["reason"] for one in degradation_manager.degraded()}["reports"] == "high_load"


EXAMPLE = """
    import asyncio
    import httpx
    from reports.app import app, degradation_manager

    degradation_manager.activate_degradation("reports", "high_load")

    async def main():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://reports") as client:
            listed = await client.get("/reports")
            queued = await client.post("/reports", json={"month": "2026-03"})
        print(listed.status_code, listed.json())
        answer = queued.json()
        identifier = answer.pop("id")
        print(queued.status_code, answer, len(identifier))

    asyncio.run(main())
"""


def test_the_example_gives_the_degraded_answers_and_keeps_what_was_asked_for(tmp_path):
    pytest.importorskip("starlette")
    spool = tmp_path / "spool"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROADWORTHY_", "REPORTS_"))}
    places = {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "examples")]),
        "ROADWORTHY_HOME": str(tmp_path / "home"),
        "REPORTS_DATABASE": f"sqlite:///{tmp_path / 'reports.db'}",
        "REPORTS_SPOOL": str(spool),
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(EXAMPLE)], capture_output=True, text=True, check=False, timeout=100,
        cwd=tmp_path, env={**kept, **places},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "200 {'reports': [], 'message': 'Report service degraded'}",
        "202 {'status': 'queued', 'message': 'Generation queued'} 32",
    ]
    assert len(list(spool.iterdir())) == 1
