"""The client's half in the browser: a small script without dependencies, served beside the endpoint as ``….js``."""

from __future__ import annotations

import os

_read: list[str] = []


def script() -> str:
    """Return the text of ``client.js``, read once."""
    if not _read:
        with open(os.path.join(os.path.dirname(__file__), "client.js"), encoding="utf-8") as file:
            _read.append(file.read())
    return _read[0]
