"""What a lame duck's answer says about its connection is what happens to it, whenever the process becomes one."""

import asyncio
import io
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from gunicorn.http.wsgi import Response

from roadworthy.app.inject import lame_duck
from roadworthy.app.integrations import aiohttp as ours_aiohttp
from roadworthy.app.integrations import gunicorn as ours_gunicorn


class Socket:
    def __init__(self):
        self.sent = io.BytesIO()

    def sendall(self, data):
        self.sent.write(data)


@pytest.fixture
def response(monkeypatch):
    """One of gunicorn's answers to a request that may keep its connection, of a class of the test's own."""

    class Watched(Response):
        pass

    ours_gunicorn.install_response(SimpleNamespace(Response=Watched))
    request = SimpleNamespace(
        version=(1, 1), method="GET", should_close=lambda: False, headers=[], is_chunked=lambda: False
    )
    monkeypatch.setattr(lame_duck, "active", False)
    made = Watched(request, Socket(), SimpleNamespace(sendfile=False))
    made.start_response("200 OK", [("Content-Length", "2")])
    return made


def said(response):
    head = response.sock.sent.getvalue().decode().lower()
    return "close" if "connection: close" in head else "keep-alive"


@pytest.mark.parametrize(
    ("before", "between", "header", "closes"),
    [
        (False, False, "keep-alive", False),
        (True, True, "close", True),
        (False, True, "keep-alive", False),  # the next request on that connection is told
        (True, False, "close", True),
    ],
)
def test_gunicorn_closes_a_connection_if_and_only_if_its_answer_said_so(
    monkeypatch, response, before, between, header, closes
):
    monkeypatch.setattr(lame_duck, "active", before)
    response.write(b"ok")
    monkeypatch.setattr(lame_duck, "active", between)
    assert (said(response), response.should_close()) == (header, closes)


@pytest.mark.parametrize(("prepared", "kept"), [(False, False), (True, True)])
def test_aiohttp_closes_after_an_answer_whose_header_could_still_say_so(monkeypatch, prepared, kept):
    class Watched(web.StreamResponse):
        pass

    ours_aiohttp.install_response(SimpleNamespace(StreamResponse=Watched))

    async def answer():
        response = Watched()
        request = make_mocked_request("GET", "/")
        monkeypatch.setattr(lame_duck, "active", not prepared)
        await response.prepare(request)
        monkeypatch.setattr(lame_duck, "active", True)
        await response.prepare(request)
        return response.keep_alive

    assert asyncio.run(answer()) is kept
