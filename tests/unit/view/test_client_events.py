"""The agent's stream of events, as the command line reads it."""

import http.server
import threading
from itertools import islice

import pytest

from roadworthy.errors import Refused, Unavailable
from roadworthy.view.client import Agent

KEPT = b'event: events\nid: 2\ndata: [{"id":2}]\n\n'
SHOT = b"event: snapshot\ndata: {}\n\n"


@pytest.fixture
def serve():
    """Return a function that serves one answer and returns an agent's address."""
    servers = []

    def start(body, status=200):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                seen.append((self.path, self.headers["Last-Event-ID"], self.headers["Authorization"]))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                """Say nothing."""

        seen = []
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return Agent("web", f"http://127.0.0.1:{server.server_port}/", "secret", 5.0), seen

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_was_kept_comes_first_and_then_what_is_new(serve):
    agent, seen = serve(b"retry: 2000\n\n" + SHOT + KEPT + SHOT + KEPT.replace(b"2", b"3"))
    assert list(islice(agent.events(), 2)) == [[{"id": 2}], [{"id": 3}]]
    assert seen == [("/api/events", "1", "Bearer secret")]


def test_where_nothing_was_kept_the_first_list_is_empty(serve):
    agent, _ = serve(b": nothing was measured yet\n\n" + SHOT + SHOT + KEPT)
    assert list(agent.events()) == [[], [{"id": 2}]]


def test_a_refusal_and_nonsense_are_errors(serve):
    with pytest.raises(Refused):
        list(serve(b'{"detail": "no"}', 401)[0].events())
    with pytest.raises(Unavailable):
        list(serve(b"event: events\ndata: no json\n\n")[0].events())
    with pytest.raises(Unavailable, match="does not answer"):
        list(Agent("web", "http://127.0.0.1:1/", "x", 1.0).events())
