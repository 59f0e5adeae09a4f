"""A real Prometheus scrapes the operations API, and holds the same figures as the snapshot."""

import asyncio
import contextlib
import json
import subprocess
import time
import urllib.parse
import urllib.request
from dataclasses import replace
from socket import socket

import pytest

from roadworthy import _clock
from roadworthy.agent.server import Server
from roadworthy.types import Kind
from roadworthy.view.prometheus_names import family_name, label_name
from roadworthy.view.prometheus_own import own_series
from roadworthy.view.web.app import PUBLIC, routes
from unit.view.snapshots import troubled
from unit.view.sources import Past, Source

pytestmark = [pytest.mark.live, pytest.mark.service("prometheus"), pytest.mark.anyio]

TOKEN = "t" * 40
DEADLINE = 60.0


def free_port():
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def text_only(app):
    """Return the application as a scraper sees it that asks for nothing but the text format."""

    async def asked(scope, receive, send):
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"accept"]
        await app(scope, receive, send)

    return asked


def config(jobs):
    scrapes = [
        {
            "job_name": job,
            "metrics_path": path,
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
        for job, (port, path) in jobs.items()
    ]
    return json.dumps({"scrape_configs": scrapes})


def query(port, expression):
    url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)["data"]["result"]


async def until(ask, deadline=DEADLINE):
    """Return the first true answer; what cannot be reached yet is asked again."""
    end = time.monotonic() + deadline
    last = None
    while time.monotonic() < end:
        try:
            last = await asyncio.to_thread(ask)
        except (OSError, ValueError) as error:
            last = error
        else:
            if last:
                return last
        await asyncio.sleep(0.2)
    pytest.fail(f"it did not come within {deadline:.0f} s; last: {last!r}")


@contextlib.asynccontextmanager
async def scraping(program, folder, jobs):
    port = free_port()
    (folder / "prometheus.yml").write_text(config(jobs))
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220 - forks once, before anything runs
    try:
        yield port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


FORMATS = {"openmetrics": ("/metrics", lambda app: app), "text": ("/health/metrics", text_only)}


@contextlib.asynccontextmanager
async def serving(snapshot, dress):
    server = Server(routes(Source(snapshot), Past()), token=TOKEN, port=0, public=PUBLIC)
    server.app = dress(server.app)
    server.bind()
    task = asyncio.create_task(server.serve())
    try:
        yield server.port
    finally:
        server.stop()
        await asyncio.wait_for(task, 20)


async def test_prometheus_holds_number_for_number_what_the_snapshot_says(service, tmp_path):
    snapshot = replace(troubled(), at=_clock.wall(), mono_ns=_clock.monotonic_ns())
    async with contextlib.AsyncExitStack() as over:
        jobs = {
            name: (await over.enter_async_context(serving(snapshot, dress)), path)
            for name, (path, dress) in FORMATS.items()
        }
        port = await over.enter_async_context(scraping(service("prometheus"), tmp_path, jobs))
        for job in jobs:
            await until(lambda job=job: query(port, f'up{{job="{job}"}} == 1'))
            found = await until(lambda job=job: query(port, f'{{job="{job}"}}'))
            agrees(snapshot, found)
    log = (tmp_path / "prometheus.log").read_text()
    assert "append failed" not in log, log
    assert "Error on ingesting" not in log, log


def agrees(snapshot, found):
    """Assert that Prometheus holds each series of the snapshot, with its number."""
    held = {}
    for one in found:
        labels = {name: value for name, value in one["metric"].items() if name not in {"__name__", "job", "instance"}}
        held[one["metric"]["__name__"], tuple(sorted(labels.items()))] = float(one["value"][1])
    compared = 0
    for one in (*snapshot.series, *own_series(snapshot)):
        name = family_name(one.name, one.unit, one.kind)
        labels = tuple(sorted((label_name(label, one.kind), value) for label, value in one.labels))
        if one.histogram is not None:
            assert held[f"{name}_count", labels] == sum(one.histogram.buckets.values())
            assert held[f"{name}_sum", labels] == one.histogram.sum / one.histogram.scale
        elif one.value is not None:
            assert held[f"{name}_total" if one.kind is Kind.COUNTER else name, labels] == one.value
        else:
            continue
        compared += 1
    assert compared > 50
    assert any(name == "target_info" and ("service_name", "shop") in labels for name, labels in held)
