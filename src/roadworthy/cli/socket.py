"""One question to the agent over its socket: a JSON line there, a JSON line back."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from roadworthy.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

_ANSWER_MOST = 16 << 20


def ask(path: Path, message: Mapping[str, Any], timeout: float = 10.0) -> dict[str, Any]:
    """Send ``message`` to the agent and return its answer; raises :class:`Unavailable` when there is none in time."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
            end.settimeout(timeout)
            end.connect(str(path))
            end.sendall(json.dumps({"hello": "cli"}).encode() + b"\n" + json.dumps(dict(message)).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n") and len(data) < _ANSWER_MOST:
                part = end.recv(65536)
                if not part:
                    break
                data += part
        answer = json.loads(data)
    except (OSError, ValueError) as error:
        raise Unavailable(
            "the agent does not answer",
            why=f"{path}: {error}.",
            hint="One that has just died is back in a moment; without a keeper, `roadworthy attach` starts one.",
        ) from error
    if not isinstance(answer, dict):
        raise Unavailable(
            "the agent's answer is not understood", why="It is no JSON object.", hint="Are the versions equal?"
        )
    return answer
