"""Unmodified servers return the caller's identifiers, and what they log while they answer carries them."""

from __future__ import annotations

import http.client

import pytest

from live.inject_env import Host, wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path, measured=True)
    made.listen()
    yield made
    made.end()


def ask(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.headers.get_all("X-Request-ID"), answer.headers["traceparent"]


def logged(host):
    """Return the identifiers that records and errors in the flight recorder carry."""
    found = [event for view in host.views() for event in view.events(dead=False)[0]]
    return {event.fields.get("correlation_id") for event in found if event.kind in {"log", "error"}}


SERVERS = {
    "starlette on uvicorn": ("-m", "uvicorn", "--port", "PORT", "--log-level", "warning", "starlette_shop:app"),
    "flask on gunicorn": ("-m", "gunicorn", "-b", "127.0.0.1:PORT", "--no-control-socket", "flask_shop:app"),
    "aiohttp": ("aiohttp_shop.py",),
    "wsgiref": ("wsgiref_shop.py",),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_takes_them_returns_them_and_logs_with_them(host, server):
    child = host.start(*[part.replace("PORT", str(host.port)) for part in SERVERS[server]])
    host.serving(child)
    plain, traced = ask(host.port, "/", X_Request_ID="req-7")
    assert (plain, traced) == (["req-7"], None)
    (trace,), traced = ask(host.port, "/", traceparent=f"00-{TRACE}-{SPAN}-01")
    assert trace == TRACE
    assert traced.startswith(f"00-{TRACE}-")
    assert SPAN not in traced
    forged, _ = ask(host.port, "/", X_Request_ID="two words")
    assert forged != ["two words"]
    ask(host.port, "/broken", X_Request_ID=TRACE)
    wait_until(lambda: TRACE in logged(host), "the error of the request that failed carries it")
    assert host.internal_errors() == 0
    host.stop(child)


def test_http_server_does_too(host, tmp_path):
    child = host.start("-m", "http.server", host.port, cwd=tmp_path)
    host.serving(child)
    assert ask(host.port, "/", X_Request_ID="req-7") == (["req-7"], None)
    assert ask(host.port, "/missing", X_Request_ID="req-8") == (["req-8"], None)
    assert ask(host.port, "/") == (None, None)
    assert host.internal_errors() == 0
