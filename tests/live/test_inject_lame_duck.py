"""A worker on the agent's list stops accepting and closes what it has; another one takes over and no request fails."""

from __future__ import annotations

import asyncio
import http.client
import threading

import pytest

from live.inject_env import Host, get, wait_until
from roadworthy.arena.control import ControlWriter

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

SERVERS = {
    "http.server": ["-m", "http.server", "{port}"],
    "wsgiref": ["wsgiref_shop.py"],
    "flask": ["flask_dev.py"],
    "gunicorn sync": ["-m", "gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "--no-control-socket", "flask_shop:app"],
    "gunicorn gthread": [
        *["-m", "gunicorn", "-k", "gthread", "--threads", "2", "-b", "127.0.0.1:{port}", "--no-control-socket"],
        "flask_shop:app",
    ],
    "uvicorn": ["-m", "uvicorn", "--port", "{port}", "starlette_shop:app"],
    "aiohttp": ["aiohttp_shop.py"],
}


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path, measured=True)
    made.listen()
    yield made
    made.end()


def start(host, name):
    child = host.start(*[part.format(port=host.port) for part in SERVERS[name]])
    wait_until(lambda: ready(host, child.pid), f"{name} listens")
    return child


def ready(host, pid):
    return any(view.pid == pid and any(mark.label == "listening" for mark in view.marks()) for view in host.views())


def lame(host, pid):
    """Return True when all of a worker's processes that serve have become lame ducks."""
    ducks = {
        event.text for view in host.views() if pid in {view.pid, view.ppid} for event in view.events(dead=False)[0]
    }
    return any(text.startswith("lame duck") for text in ducks)


def requests_of(host, pid):
    return sum(
        sum(series.buckets.values())
        for view in host.views()
        if pid in {view.pid, view.ppid}
        for series in view.series()
        if series.name == "http.server.request.duration"
    )


@pytest.mark.parametrize("name", SERVERS)
def test_a_lame_duck_answers_nothing_new_and_its_successor_everything(host, name):
    old = start(host, name)
    host.serving(old)
    control = ControlWriter(host.arenas)
    new = start(host, name)
    failures, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            try:
                if get(host.port, ["/"] * 5) != [200] * 5:
                    failures.append("status")
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))

    loader = threading.Thread(target=load)
    loader.start()
    try:
        wait_until(lambda: requests_of(host, new.pid) > 20, "both answer")
        control.publish({"lame_duck": [old.pid]})
        wait_until(lambda: lame(host, old.pid), "the old one knows", 15)

        def quiet():
            before = requests_of(host, old.pid)
            after = requests_of(host, new.pid)
            wait_until(lambda: requests_of(host, new.pid) > after + 100, "a hundred requests to the new one")
            return requests_of(host, old.pid) == before

        wait_until(quiet, "the old one answers no more")
        assert host.stop(old) in {0, -15}
        seen = requests_of(host, new.pid)
        wait_until(lambda: requests_of(host, new.pid) > seen + 20, "the new one goes on")
    finally:
        stop.set()
        loader.join()
        control.close()
    assert failures == []
    assert host.internal_errors() == 0


@pytest.mark.parametrize("name", ["uvicorn", "aiohttp", "gunicorn gthread"])
def test_a_kept_connection_is_answered_and_closed(host, name):
    child = start(host, name)
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=20)
    connection.request("GET", "/")
    first = connection.getresponse()
    first.read()
    assert not first.will_close
    control = ControlWriter(host.arenas)
    control.publish({"lame_duck": [child.pid]})
    wait_until(lambda: lame(host, child.pid), "it knows", 15)
    connection.request("GET", "/")
    second = connection.getresponse()
    assert (second.status, second.will_close) == (200, True)
    second.read()
    connection.close()
    control.close()


@pytest.mark.parametrize("name", ["uvicorn", "aiohttp"])
def test_websockets_are_closed_with_service_restart(host, name):
    client = pytest.importorskip("websockets.asyncio.client")
    from websockets.exceptions import ConnectionClosed

    child = start(host, name)

    async def talk():
        async with client.connect(f"ws://127.0.0.1:{host.port}/echo") as websocket:
            await websocket.send("here")
            assert await websocket.recv() == "here"
            control = ControlWriter(host.arenas)
            control.publish({"lame_duck": [child.pid]})
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(websocket.recv(), 15)
            control.close()
            return closed.value.rcvd.code

    assert asyncio.run(talk()) == 1012
