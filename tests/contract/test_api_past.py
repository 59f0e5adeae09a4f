"""Trends, baseline and report over HTTP, from a history that the test holds."""

import httpx
import pytest

from roadworthy.agent.baselines import Baselines
from roadworthy.agent.server import Server
from roadworthy.view.web.app import PUBLIC, routes
from unit.view.snapshots import NOW, quiet, troubled
from unit.view.sources import Source, clock

pytestmark = pytest.mark.anyio

TOKEN = "t" * 40
LOGIN = {"Authorization": f"Bearer {TOKEN}"}


class Line:
    """A history in which every figure stands at ``value``, from ``since`` on."""

    def __init__(self, value=100.0, since=NOW - 600):
        self.value = value
        self.since = since
        self.asked = []

    def query(self, names, start, end, points):
        self.asked.append((start, end, points))
        step = (end - start) / points
        times = [start + step * (index + 1) for index in range(points)]
        return {name: [(at, self.value if at >= self.since else None) for at in times] for name in names}


def api(history, snapshot=None, baselines=None, frequency=None):
    source = Source(snapshot or quiet())
    mounted = routes(source, history, now_ns=clock(0.5), baselines=baselines, frequency=frequency)
    server = Server(mounted, token=TOKEN, host="127.0.0.1", public=PUBLIC)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(server.app, raise_app_exceptions=False), base_url="http://127.0.0.1:9900"
    )


async def test_a_young_program_has_trends_over_a_long_time_too():
    async with api(Line(since=NOW - 7200)) as client:
        told = (await client.get("/api/performance/resources/trends?hours=168&points=10")).json()
    assert told["trends"]["app.rss"]["label"] == "steady"
    assert told["labels"]["memory_trend"] == "steady"
    assert told["trends"]["system.net_sent"]["mean"] == 100.0
    assert len(told["trends"]["app.rss"]["points"]) == 10


async def test_a_baseline_is_taken_with_the_token_and_compared(tmp_path):
    history = Line()
    async with api(history, troubled(), Baselines(tmp_path)) as client:
        assert (await client.get("/api/performance/baseline")).json()["baseline"] is None
        assert (await client.post("/api/performance/baseline")).status_code == 401
        taken = (await client.post("/api/performance/baseline?minutes=5", headers=LOGIN)).json()
        assert taken["taken"] > 20
        assert taken["levels"]["app.rss"]["median"] == 100.0
    history.value = 150.0
    later = troubled(at=NOW + 900)
    async with api(history, later, Baselines(tmp_path)) as client:
        told = (await client.get("/api/performance/baseline?minutes=10")).json()
    assert "app.rss" in told["worse"]
    found = {one["figure"]: one for one in told["figures"]}
    assert (found["app.rss"]["change"], found["app.rss"]["ratio"]) == ("higher", 1.5)
    assert history.asked[-1][0] >= NOW, "figures of the baseline's own time are not compared with it"


async def test_too_little_makes_no_baseline_and_an_agent_without_a_place_for_one_says_so(tmp_path):
    async with api(Line(since=NOW + 1), baselines=Baselines(tmp_path)) as client:
        answer = await client.post("/api/performance/baseline", headers=LOGIN)
        assert (answer.status_code, answer.json()["code"]) == (409, "too-little")
    async with api(Line()) as client:
        answer = await client.post("/api/performance/baseline", headers=LOGIN)
        assert (answer.status_code, answer.json()["code"]) == (501, "cannot-do")


async def test_a_broken_baseline_is_told(tmp_path):
    (tmp_path / "baseline.json").write_text("{")
    async with api(Line(), baselines=Baselines(tmp_path)) as client:
        answer = await client.get("/api/performance/baseline")
    assert (answer.status_code, answer.json()["code"]) == (503, "no-history")
    assert "roadworthy baseline --take" in answer.json()["hint"]


async def test_the_report_and_the_error_summary_have_the_errors_of_each_minute():
    async with api(Line(), troubled(), frequency=lambda _fingerprint: [(60.0, 2)]) as client:
        report = (await client.get("/api/performance/report?hours=2")).json()
        summary = (await client.get("/api/performance/errors/summary")).json()
    assert report["errors"]["groups"][0]["per_minute"] == summary["groups"][0]["per_minute"] == [[60.0, 2]]
    assert report["trends"]["hours"] == 2
    for part in ("bottlenecks", "memory_impact", "hints", "usage", "startup", "resources"):
        assert part in report
