"""Hostile requests, byte by byte, against the live agent: refused or bounded, and the program is not disturbed."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import stat
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from support.running import Running, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

PROGRAM = "import time, roadworthy as rw\nwhile True:\n    with rw.operation('work'): time.sleep(0.05)\n"
PATIENCE = 25.0
"""Seconds after which a server that has neither answered nor hung up is taken for stuck."""


class Answer(NamedTuple):
    """What came back; status 0 when the connection was closed without an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Return the problem's code."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        assert problem["detail"]
        return str(problem["code"])


class Target:
    """The live server."""

    def __init__(self, running: Running) -> None:
        told = running.agent()
        self.running = running
        self.port = int(told["port"])
        self.token = (running.run_dir / "token").read_text().strip()

    def connect(self) -> socket.socket:
        """Return a connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def send(self, data: bytes) -> Answer:
        """Send bytes, say no more, and return what comes until the server hangs up or has answered in full."""
        with self.connect() as end:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                end.sendall(data)
            return read(end)

    def ask(self, line: bytes, *headers: bytes, body: bytes = b"") -> Answer:
        """Send one request with a loopback Host header unless one is given."""
        given = [line, *headers, b"Connection: close"]
        if not any(header.lower().startswith(b"host:") for header in headers):
            given.insert(1, b"Host: 127.0.0.1")
        return self.send(b"\r\n".join(given) + b"\r\n\r\n" + body)

    @property
    def bearer(self) -> bytes:
        """Return the right Authorization header."""
        return b"Authorization: Bearer " + self.token.encode()


def read(end: socket.socket) -> Answer:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while True:
            head, blank, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if blank and length and len(body) >= int(length[1]):
                break
            part = end.recv(65536)
            if not part:
                break
            data += part
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(status.split()[1]) if status else 0, headers, body)


@pytest.fixture(scope="module")
def target(tmp_path_factory) -> Iterator[Target]:
    with Running(tmp_path_factory.mktemp("target"), [sys.executable, "-c", PROGRAM], name="web") as running:
        running.agent()
        running.until(lambda s: s["operations"], "the program works")
        yield Target(running)


ORDER = b"POST /api/restart HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture(scope="module", autouse=True)
def slow_senders(target) -> Iterator[Future[dict[str, tuple[int, float]]]]:
    """Begin, before everything else is tried, what takes as long as the server's patience; the last test looks."""
    stopped = {
        "nothing": b"",
        "half a line": b"GET / HT",
        "no end of headers": GET + b"\r\nHost: 127.0.0.1\r\n",
        "no body": ORDER + target.bearer + b"\r\nContent-Length: 10\r\n\r\n{",
        "an endless chunk": ORDER + target.bearer + b"\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nx",
        "trickling": GET + b"\r\nHost: 127.0.0.1\r\n",
    }

    def send() -> dict[str, tuple[int, float]]:
        began = time.monotonic()
        with contextlib.ExitStack() as held:
            ends = {name: held.enter_context(target.connect()) for name in stopped}
            for name, sent in stopped.items():
                ends[name].sendall(sent)
            found = {}
            trickling = ends.pop("trickling")
            trickling.settimeout(0.2)
            answer = b""
            while time.monotonic() - began < PATIENCE and not answer:
                with contextlib.suppress(TimeoutError):
                    trickling.sendall(b"X: y\r\n")
                    answer = trickling.recv(4096)
            found["trickling"] = int(answer.split()[1]) if answer else 0, time.monotonic() - began
            for name, end in ends.items():
                found[name] = read(end).status, time.monotonic() - began
            return found

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(send)


@pytest.fixture(autouse=True)
def undisturbed(target):
    """Check after each attack that the same agent goes on, answers at once, and the same worker works."""
    before = target.running.snapshot()
    yield
    after = target.running.snapshot()
    assert after["agent_pid"] == before["agent_pid"]
    assert [one["pid"] for one in after["workers"]] == [one["pid"] for one in before["workers"]]
    assert [one["restarts"] for one in after["workers"]] == [one["restarts"] for one in before["workers"]]
    assert target.ask(b"GET /livez HTTP/1.1").status == 200


GET = b"GET /api/snapshot HTTP/1.1"


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n", {400, 431, 0}),
        (b"GET /" + b"a" * (1 << 17) + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", {400, 414, 0}),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: 1\r\n" * 5000 + b"\r\n", {400, 431, 0}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), {400}),
        (b"\0" * 4096 + b"\r\n\r\n", {400}),
        (b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n", {400, 505}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}),
        (b"GET / HTTP/1.1\r\n\r\n", {400, 421}),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n", {400}),
        (b"GET / HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n", {400, 421}),
        (b"GET / HTTP/1.1\nHost: 127.0.0.1\n X: folded\n\n", {400, 421}),
        (b"GET /\xff\xfe\x80 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", {400, 404}),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-\xff: \xfe\r\nConnection: close\r\n\r\n", {400, 200}),
        (b"GET http://evil.example/api/snapshot HTTP/1.1\r\nHost: evil.example\r\n\r\n", {400, 404, 421}),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n", {400, 404, 405, 421}),
    ],
    ids=[
        "header of a megabyte", "path of 128 KiB", "5000 headers", "TLS hello", "zeros", "HTTP/9.9", "HTTP/2 preface",
        "no host", "two hosts", "space before colon", "folded header", "path no UTF-8", "header no UTF-8", "as a proxy",
        "connect",
    ],
)  # fmt: skip
def test_what_is_no_proper_request_is_refused(data, statuses, target):
    answer = target.send(data)
    assert answer.status in statuses
    assert b"work" not in answer.body or answer.status == 200
    assert target.token.encode() not in answer.body


@pytest.mark.parametrize(
    ("headers", "body", "statuses"),
    [
        ([b"Content-Length: 1000000000"], b"", {413}),
        ([b"Content-Length: -1"], b"", {400}),
        ([b"Content-Length: 5", b"Content-Length: 6"], b"{}   ", {400}),
        ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], b"0\r\n\r\n", {400}),
        ([b"Transfer-Encoding: chunked"], b"zz\r\nx\r\n0\r\n\r\n", {400, 0}),
        ([b"Transfer-Encoding: chunked"], (b"2000\r\n" + b"x" * 0x2000 + b"\r\n") * 20 + b"0\r\n\r\n", {413}),
        ([b"Transfer-Encoding: chunked"], b"1\r\nx\r\n" * 70_000 + b"0\r\n\r\n", {413, 0}),
        ([b"Transfer-Encoding: gzip, chunked"], b"0\r\n\r\n", {400, 501}),
        ([b"Content-Type: application/xml", b"Content-Length: 4"], b"<x/>", {415}),
        ([b"Content-Type: application/json", b"Content-Length: 3"], b"\xff\xfe{", {202, 400}),
    ],
)
def test_a_bad_body_is_refused_and_bounded(headers, body, statuses, target):
    # To a path that only reads, so that nothing is restarted by those whose body is not looked at.
    answer = target.ask(b"POST /api/snapshot HTTP/1.1", target.bearer, *headers, body=body)
    assert answer.status in statuses | {405}


def test_two_hundred_open_connections_do_not_lock_others_out_for_long(target):
    with contextlib.ExitStack() as held:
        for _ in range(200):
            held.enter_context(target.connect())
    wait_for(lambda: target.ask(b"GET /livez HTTP/1.1").status == 200, "it answers again", PATIENCE)


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/static/../../token", "/api/incidents/../../token",
        "/api/incidents/..%2f..%2ftoken", "/api/incidents/%2e%2e%2ftoken", "//etc/passwd", "/.%00/token", "/token",
        "/api/incidents/....//token", "\\..\\token", "/api/incidents/%c0%ae%c0%ae/token", "/static/", "/run.json",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file(path, target):
    answer = target.ask(f"GET {path} HTTP/1.1".encode(), target.bearer)
    assert answer.status in {400, 404}
    assert b"root:" not in answer.body
    assert target.token.encode() not in answer.body


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example", b"evil.example:%d", b"127.0.0.1.evil.example", b"localhost.evil.example", b"10.0.0.1",
        b"[::ffff:8.8.8.8]", b"127.0.0.1@evil.example", b"127.0.0.1, evil.example", b"127.0.0.1\tevil.example",
        b"", b"%%", b"0",
    ],
)  # fmt: skip
def test_a_foreign_host_is_refused_so_that_rebinding_a_name_gains_nothing(host, target):
    host = host.replace(b"%d", str(target.port).encode())
    for line in (GET, b"GET / HTTP/1.1", b"GET /livez HTTP/1.1", b"POST /api/restart HTTP/1.1"):
        answer = target.ask(line, b"Host: " + host, target.bearer)
        assert answer.status in {400, 421}
        assert b"snapshot" not in answer.body


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ([], 401, "no-token"),
        ([b"Authorization: Bearer wrong"], 401, "no-token"),
        ([b"Authorization: Bearer "], 401, "no-token"),
        ([b"Authorization: Basic YWRtaW46YWRtaW4="], 401, "no-token"),
        ([b"Cookie: token=%s"], 401, "no-token"),
        ([b"Authorization: Bearer %s", b"Origin: http://evil.example"], 403, "foreign-origin"),
        ([b"Authorization: Bearer %s", b"Origin: null"], 403, "foreign-origin"),
        ([b"Authorization: Bearer %s", b"Origin: http://127.0.0.1"], 403, "no-csrf"),
        ([b"Authorization: Bearer %s", b"Origin: http://127.0.0.1", b"X-Roadworthy-CSRF: x"], 403, "no-csrf"),
        ([b"Authorization: Bearer %s", b"Sec-Fetch-Site: cross-site"], 403, "foreign-origin"),
        ([b"Authorization: Bearer %s", b"Referer: http://evil.example/"], 403, "foreign-origin"),
        ([b"Authorization: Bearer %s", b"Authorization: Bearer %s"], 400, "repeated-header"),
    ],
)
@pytest.mark.parametrize("verb", ["restart", "reload"])
def test_nothing_is_changed_without_token_page_and_origin(verb, headers, status, code, target):
    given = [header.replace(b"%s", target.token.encode()) for header in headers]
    answer = target.ask(f"POST /api/{verb} HTTP/1.1".encode(), *given)
    assert (answer.status, answer.code) == (status, code)
    assert "access-control-allow-origin" not in answer.headers
    assert target.token.encode() not in answer.body


def test_a_pipelined_second_request_is_judged_by_itself(target):
    host = b"\r\nHost: 127.0.0.1\r\n"
    first = b"GET /livez HTTP/1.1" + host + target.bearer + b"\r\n\r\n"
    second = b"POST /api/restart HTTP/1.1" + host + b"Connection: close\r\n\r\n"
    with target.connect() as end:
        end.sendall(first + second)
        data = b""
        while part := end.recv(65536):
            data += part
    assert data.count(b"HTTP/1.1 200") == 1
    assert data.count(b"HTTP/1.1 401") == 1


def test_the_token_is_private_and_appears_nowhere_but_in_its_file(target):
    running = target.running
    assert stat.S_IMODE((running.run_dir / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(running.run_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((running.run_dir / "agent.sock").stat().st_mode) & 0o077 == 0
    holders = [
        path
        for path in running.home.rglob("*")
        if path.is_file() and path != running.output and target.token.encode() in path.read_bytes()
    ]
    assert [path.name for path in holders] == ["token"]
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            assert target.token.encode() not in (folder / "cmdline").read_bytes()
            assert target.token.encode() not in (folder / "environ").read_bytes()
    for path in (b"/", b"/api/snapshot", b"/metrics", b"/api/openapi.json"):
        assert target.token.encode() not in target.ask(b"GET " + path + b" HTTP/1.1").body


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"{\n", b"[]\n", b'{"hello":"cli"}\nnonsense\n', b'{"hello":"nobody"}\n', b"\xff" * 5000 + b"\n",
     b"x" * (3 << 20)],
    ids=["nothing", "empty", "half", "list", "nonsense", "unknown", "no UTF-8", "no end"],
)  # fmt: skip
def test_nonsense_on_the_agents_socket_is_hung_up_on(line, target, monkeypatch):
    monkeypatch.chdir(target.running.run_dir)
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(PATIENCE)
        end.connect("agent.sock")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            end.sendall(line)
            end.shutdown(socket.SHUT_WR)
            assert end.recv(4096) == b""


@pytest.mark.parametrize(
    "message",
    [{"do": "destroy"}, {"do": None}, {}, {"do": "restart", "slot": "0; rm"}, {"do": "restart", "slot": 10**30},
     {"do": "stacks", "slot": -1}, {"do": "stacks", "slot": []}, {"do": "restart", "slot": True}, {"do": ["stop"]}],
    ids=str,
)  # fmt: skip
def test_an_order_that_makes_no_sense_is_refused_with_a_reason(message, target, monkeypatch):
    monkeypatch.chdir(target.running.run_dir)
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(PATIENCE)
        end.connect("agent.sock")
        end.sendall(b'{"hello":"cli"}\n' + json.dumps(message).encode() + b"\n")
        answer = json.loads(end.makefile("rb").readline())
    assert answer["ok"] is False
    assert answer["what"]
    assert answer["why"]


def test_a_sender_that_stops_or_only_trickles_is_let_go(slow_senders):
    found = slow_senders.result(PATIENCE)
    assert {name: status for name, (status, _) in found.items()} == dict.fromkeys(found, 408)
    assert len(found) == 6
    assert max(took for _, took in found.values()) < PATIENCE
