"""A thousand calls to a dead backend through three tiers that all retry, over real HTTP: what the backend bears."""

from __future__ import annotations

import http.client
import itertools
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from roadworthy import _clock
from roadworthy.resilience import Budget, CircuitBreaker, Policy, Rejected, Retry

pytestmark = pytest.mark.live

CALLS = 1000
_runs = itertools.count()


class Unavailable(Exception):
    """The tier below answered that it cannot."""


class Tier:
    """A service that asks the one below for each of its answers, under a policy."""

    def __init__(self, policy: Policy, below: int) -> None:
        self.asked = 0
        self._count = itertools.count(1)
        tier = self

        @policy
        def fetch() -> None:
            tier.asked = next(tier._count)
            connection = http.client.HTTPConnection("127.0.0.1", below, timeout=30)
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
            finally:
                connection.close()
            if answer.status != 200:
                raise Unavailable(answer.status)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    fetch()
                except (Unavailable, OSError, Rejected):
                    status = 503
                else:
                    status = 200
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

        self.fetch = fetch
        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def dead_port():
    """A port that is taken and refuses: a call of it fails, and is counted where it is made."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def storm(make_policy, dead_port, calls=CALLS):
    """Return how often the dead backend was called for ``calls`` calls at the top, and how long it all took."""
    run = next(_runs)
    tiers: list[Tier] = []
    try:
        port = dead_port
        for level in range(3):
            tiers.append(Tier(make_policy(f"storm-{run}-tier-{level}"), port))
            port = tiers[-1].port
        top = tiers[-1].fetch

        def call(_: int) -> int:
            try:
                top()
            except (Unavailable, Rejected):
                return 0
            return 1

        before = _clock.monotonic()
        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(call, range(calls))) == 0
        took = _clock.monotonic() - before
    finally:
        for tier in reversed(tiers):
            tier.close()
    print(f"{calls} calls: backend {tiers[0].asked}, tiers above {[tier.asked for tier in tiers[1:]]}, {took:.1f} s")
    return tiers[0].asked, took


def retry(budget):
    return Retry(3, on=(Unavailable, OSError), backoff=(0.001, 0.004), budget=budget)


@pytest.mark.timeout(300)
def test_with_budgets_three_retrying_tiers_cost_a_dead_backend_a_tenth_more_at_most(dead_port):
    asked, took = storm(lambda name: Policy(name, retry=retry(Budget(ratio=0.1, minimum=3, per="10s"))), dead_port)
    assert asked >= CALLS
    # Three tiers, each 3 at once and 3 in 10 s: a machine that is much slower has that much longer to retry.
    assert asked <= max(1100, CALLS + 3 * 3 * (2 + took / 10))


@pytest.mark.timeout(300)
def test_with_breakers_too_they_cost_it_fifty_at_most(dead_port):
    def policy(name):
        return Policy(
            name,
            retry=retry(Budget(ratio=0.1, minimum=3, per="10s")),
            breaker=CircuitBreaker(window=100, failure_rate=0.5, min_calls=20, open_for=(5, 60), probes=2),
        )

    asked, took = storm(policy, dead_port)
    assert asked <= max(50, 30 + 2 * took / 5)


@pytest.mark.timeout(300)
def test_without_either_they_cost_it_twenty_seven_times_as_much(dead_port):
    asked, _ = storm(lambda name: Policy(name, retry=retry(None)), dead_port, 40)
    assert asked == 40 * 27
