"""Unmodified servers with the runtime injected: what we count is what the client counted."""

from __future__ import annotations

import asyncio

import pytest

from live.inject_env import Host, get, wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path, measured=True)
    made.listen()
    yield made
    made.end()


def settled(host, expected):
    """Wait for the server to note the end of the last answer, which the client sees first."""
    wait_until(
        lambda: host.requests() >= expected, f"{expected} requests; {host.series('http.server.request.duration')}"
    )
    wait_until(lambda: not any(view.inflight() for view in host.views()), "no request in flight")
    return host.requests()


def listening(host):
    return [mark.label for view in host.views() for mark in view.marks()].count("listening")


def test_http_server_counts_every_request_and_every_404(host, tmp_path):
    (tmp_path / "page.html").write_text("hello")
    child = host.start("-m", "http.server", host.port, cwd=tmp_path)
    asked = host.serving(child)
    statuses = get(host.port, ["/page.html", "/missing"] * 50)
    assert settled(host, 100 + asked) == len(statuses) + asked
    assert host.requests(http__response__status_code=404) == statuses.count(404) == 50
    assert host.requests(http__response__status_code=200, http__request__method="GET") == 50 + asked
    assert {dict(labels)["http.route"] for labels in host.series("http.server.request.duration")} == {"other"}
    assert listening(host) == 1
    assert host.internal_errors() == 0
    assert "roadworthy" not in host.err()


@pytest.mark.parametrize("options", [["-k", "sync"], ["-k", "gthread", "--threads", "2"]], ids=["sync", "gthread"])
def test_flask_on_gunicorn_with_four_workers(host, options):
    child = host.start(
        "-m", "gunicorn", "-w", "4", "-b", f"127.0.0.1:{host.port}", *options, "--no-control-socket", "flask_shop:app"
    )
    asked = host.serving(child)
    paths = ["/", "/item/1", "/item/22", "/broken", "/nowhere", "/stream"] * 20
    statuses = get(host.port, paths)
    assert settled(host, 120 + asked) == 120 + asked
    assert host.requests(http__route="/item/<int:number>", http__response__status_code=200) == 40
    assert host.requests(http__route="/stream") == 20
    assert host.requests(http__response__status_code=500, http__route="/broken") == statuses.count(500) == 20
    assert host.requests(http__response__status_code=404, http__route="other") == statuses.count(404) == 20
    assert host.count("log.records", logger="shop.orders", level="warning") == 40
    assert host.count("errors", type="ValueError") == 20
    assert host.internal_errors() == 0
    assert host.stop(child) == 0


def test_starlette_on_uvicorn(host):
    child = host.start("-m", "uvicorn", "--port", host.port, "--log-level", "warning", "starlette_shop:app")
    asked = host.serving(child)
    paths = ["/", "/api/item/1", "/api/item/22", "/broken", "/nowhere", "/stream"] * 20
    statuses = get(host.port, paths, keep=True)
    assert settled(host, 120 + asked) == 120 + asked
    assert host.requests(http__route="/api/item/{number:int}", http__response__status_code=200) == 40
    assert host.requests(http__response__status_code=500, http__route="/broken") == statuses.count(500) == 20
    assert host.requests(http__response__status_code=404) == statuses.count(404) == 20
    assert host.count("log.records", logger="shop.orders") == 40
    assert host.count("errors", type="ValueError") == 20
    streams = [
        series
        for view in host.views()
        for series in view.series()
        if series.name == "http.server.request.duration" and ("http.route", "/stream") in series.labels
    ]
    assert [series.sum / 20 / series.scale >= 0.1 for series in streams] == [True], "streams are timed to their end"
    assert listening(host) == 1
    assert host.internal_errors() == 0
    assert host.stop(child) in {0, -15}
    beats = {beat.name: beat for view in host.views() for beat in view.beats()}
    assert beats["asyncio"].kind == "event_loop"
    assert beats["roadworthy"].kind == "thread"
    assert host.count("asyncio.loop.lag") > 0


def test_starlette_on_two_uvicorn_workers(host):
    child = host.start("-m", "uvicorn", "--port", host.port, "--workers", "2", "starlette_shop:app")
    asked = host.serving(child)
    assert get(host.port, ["/", "/api/item/1"] * 25) == [200] * 50
    assert settled(host, 50 + asked) == 50 + asked
    host.stop(child)


def test_an_aiohttp_application(host):
    child = host.start("aiohttp_shop.py")
    asked = host.serving(child)
    statuses = get(host.port, ["/", "/item/1", "/item/22", "/broken", "/nowhere", "/stream"] * 20, keep=True)
    assert settled(host, 120 + asked) == 120 + asked
    assert host.requests(http__route="/item/{number}", http__response__status_code=200) == 40
    assert host.requests(http__response__status_code=500, http__route="/broken") == statuses.count(500) == 20
    assert host.requests(http__response__status_code=404) == statuses.count(404) == 20
    assert host.count("log.records", logger="shop.orders") == 40
    assert host.count("errors", type="ValueError") == 20
    assert host.internal_errors() == 0


@pytest.mark.parametrize(("program", "route"), [("wsgiref_shop.py", "other"), ("flask_dev.py", "/")])
def test_other_wsgi_servers(host, program, route):
    child = host.start(program)
    asked = host.serving(child)
    statuses = get(host.port, ["/", "/broken"] * 20)
    assert statuses == [200, 500] * 20
    assert settled(host, 40 + asked) == 40 + asked
    assert host.requests(http__response__status_code=500) == 20
    assert host.requests(http__route=route, http__response__status_code=200) == 20 + asked
    assert host.internal_errors() == 0


def test_three_workers_share_the_port_and_killing_one_drops_nothing(host):
    children = [host.start("-m", "uvicorn", "--port", host.port, "starlette_shop:app") for _ in range(3)]
    wait_until(lambda: listening(host) == 3, "three listening marks")
    asked = host.serving(children[0])
    assert get(host.port, ["/"] * 30) == [200] * 30
    children[0].terminate()
    children[0].wait(20)
    assert get(host.port, ["/"] * 30) == [200] * 30
    assert settled(host, 60 + asked) == 60 + asked


def test_a_child_that_a_launcher_starts_gets_the_port(host):
    launcher = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'http.server', sys.argv[1]], check=True)"
    child = host.start("-c", launcher, host.port)
    asked = host.serving(child)
    assert settled(host, asked) == asked
    for view in host.views():
        if view.pid != child.pid:
            assert view.ppid == child.pid
            import os
            import signal

            os.kill(view.pid, signal.SIGTERM)


def test_websockets_count_when_they_are_accepted(host):
    websockets = pytest.importorskip("websockets.asyncio.client")
    child = host.start("-m", "uvicorn", "--port", host.port, "starlette_shop:app")
    asked = host.serving(child)

    async def talk():
        for number in range(5):
            async with websockets.connect(f"ws://127.0.0.1:{host.port}/echo") as websocket:
                await websocket.send(str(number))
                assert await websocket.recv() == str(number)

    asyncio.run(talk())
    assert settled(host, 5 + asked) == 5 + asked
    assert host.requests(http__response__status_code=101, http__route="/echo", url__scheme="ws") == 5
