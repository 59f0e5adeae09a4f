"""An outside service on a loopback port, which counts by itself what it is asked and what goes back and forth."""

from __future__ import annotations

import gzip
import http.server
import threading
from typing import Self

PLAIN = b"x" * 1000
CHUNKS = (b"hello", b"y" * 70_000, b"end")
SHORT, PROMISED = b"z" * 40, 100
PACKED = gzip.compress(b"packed " * 500, mtime=0)


class Outside:
    """Answers in threads of its own while the block lasts."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.asked: list[tuple[str, str, dict[str, str], int]] = []
        """Method, path, headers in lower case, and how long the body was."""
        self.taken = 0
        """Bytes that came: request lines, headers, bodies."""
        self.marks = 0
        """Of those, what stands between chunks."""
        self.given = 0
        """Bytes of bodies that went out."""
        self.came = threading.Event()
        self.go_on = threading.Event()
        self.lock = threading.Lock()
        outside = self

        class Bound(Handler):
            service = outside

        self.server = http.server.ThreadingHTTPServer((address, 0), Bound)
        self.server.daemon_threads = False
        self.server.block_on_close = True
        self.port = self.server.server_address[1]
        self.base = f"http://{address}:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Counted:
    """What comes from a connection, counted."""

    def __init__(self, file, service) -> None:
        self.file = file
        self.service = service

    def _count(self, data):
        with self.service.lock:
            self.service.taken += len(data)
        return data

    def read(self, size):
        return self._count(self.file.read(size))

    def readline(self, limit=-1):
        return self._count(self.file.readline(limit))

    def close(self):
        self.file.close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Outside
    timeout = 20

    def setup(self):
        super().setup()
        self.rfile = Counted(self.rfile, self.service)

    def do_CONNECT(self):
        self._answer(403, b"")

    def log_message(self, *args):
        """Say nothing."""

    def do_GET(self):
        length = self._take()
        with self.service.lock:
            said = {name.lower(): value for name, value in self.headers.items()}
            self.service.asked.append((self.command, self.path, said, length))
        self.service.came.set()
        act = {"/chunked": self._chunked, "/short": self._short, "/slow": self._slow}.get(self.path)
        if act is not None:
            act()
        elif self.path == "/moved":
            self._answer(307, b"", Location="/plain")
        elif self.path == "/silent":
            self.service.go_on.wait(20)
            self.close_connection = True
        elif self.path == "/packed":
            self._answer(200, PACKED, Content_Encoding="gzip")
        else:
            self._answer(404 if self.path == "/missing" else 200, PLAIN)

    do_POST = do_HEAD = do_GET  # noqa: N815 - the names that the base class asks for

    def _take(self):
        """Read the body and return how long it is."""
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        whole = 0
        while True:
            line = self.rfile.readline()
            size = int(line, 16)
            self.rfile.read(size)
            with self.service.lock:
                self.service.marks += len(line) + len(self.rfile.file.peek(2)[:2])
            self.rfile.readline()
            whole += size
            if not size:
                return whole

    def _answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self._give(body)

    def _give(self, body, before=b"", after=b""):
        with self.service.lock:
            self.service.given += len(body)  # before it goes out: who asked may look at once
        self.wfile.write(before + body + after)

    def _chunked(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in CHUNKS:
            self._give(chunk, b"%x\r\n" % len(chunk), b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def _short(self):
        """Promise more than is given."""
        self.send_response(200)
        self.send_header("Content-Length", str(PROMISED))
        self.end_headers()
        self._give(SHORT)
        self.close_connection = True

    def _slow(self):
        """Give one part, and the next when the test says so."""
        self.send_response(200)
        self.send_header("Content-Length", str(2 * len(PLAIN)))
        self.end_headers()
        self._give(PLAIN)
        self.service.go_on.wait(20)
        try:
            self._give(PLAIN)
        except OSError:
            self.close_connection = True  # who asked has hung up
