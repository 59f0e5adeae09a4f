"""Real servers of a test's own: PostgreSQL and Redis on free ports, with their data in a folder that goes with them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

PATIENCE = 60.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Return whether somebody listens."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A server process; :meth:`stop` and :meth:`start` may be called again and again."""

    def __init__(self) -> None:
        self.port = free_port()
        # Not below pytest's folder: that may be entered by its owner only, and PostgreSQL refuses to run as root.
        self.folder = Path(tempfile.mkdtemp(prefix="rw-server-"))
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return what is run."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it listens."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not self.ready():
            said = (self.folder / "log").read_text("utf-8", "replace")[-2000:]
            assert self.process.poll() is None, f"the server has ended: {said}"
            assert time.monotonic() < deadline, f"the server did not listen: {said}"
            time.sleep(0.05)

    def ready(self) -> bool:
        """Return whether it can be used."""
        return answers(self.port)

    def stop(self) -> None:
        """End it at once; what it has acknowledged is on its disk."""
        if self.process is not None:
            self.process.send_signal(2)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(Server):
    """PostgreSQL with one database ``postgres`` of the user ``rw``; with ``password`` it asks for it."""

    def __init__(self, postgres: Path, password: str = "") -> None:
        super().__init__()
        # The link in a PATH folder would look for its libraries beside itself.
        self._bin = postgres.resolve().parent
        self._password = password
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            for path in (self.folder, data):
                shutil.chown(path, "postgres", "postgres")
        secret = self.folder / "secret"
        secret.write_text(password or "unused", "utf-8")
        secret.chmod(0o644)
        method = "scram-sha-256" if password else "trust"
        made = [str(self._bin / "initdb"), "-D", str(data), "-U", "rw", "-A", method, f"--pwfile={secret}", "-N"]
        subprocess.run(self._as_nobody_special([*made, "-E", "UTF8", "--locale=C"]), check=True, capture_output=True)

    def _as_nobody_special(self, command: list[str]) -> list[str]:
        return (
            ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
            if os.geteuid() == 0
            else command
        )

    def command(self) -> list[str]:
        """Return the server's command line."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
            "max_connections": "20",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        data = str(self.folder / "data")
        return self._as_nobody_special([str(self._bin / "postgres"), "-D", data, "-p", str(self.port), *options])

    def ready(self) -> bool:
        """Return whether it takes queries: it listens before it does."""
        tool = [str(self._bin / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "rw", "-d", "postgres"]
        return answers(self.port) and subprocess.run(tool, check=False, capture_output=True).returncode == 0

    @property
    def url(self) -> str:
        """Return the address of its database."""
        word = f":{self._password}" if self._password else ""
        return f"postgresql://rw{word}@127.0.0.1:{self.port}/postgres"


class Redis(Server):
    """Redis or Valkey without persistence; with ``password`` it asks for it."""

    def __init__(self, program: Path, password: str = "") -> None:
        super().__init__()
        self._program = program
        self._password = password

    def command(self) -> list[str]:
        """Return the server's command line."""
        secret = ["--requirepass", self._password] if self._password else []
        return [
            str(self._program), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--dir", str(self.folder), *secret,
        ]  # fmt: skip

    @property
    def url(self) -> str:
        """Return its address."""
        word = f":{self._password}@" if self._password else ""
        return f"redis://{word}127.0.0.1:{self.port}/0"
