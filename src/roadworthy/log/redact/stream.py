"""The lines of one stream: redacted one by one, a private key that is printed over many of them as one secret."""

from __future__ import annotations

from roadworthy.log.redact import redact
from roadworthy.log.redact.shapes import REDACTED

MOST = 256
"""Lines that a private key has at most; after them what comes is taken for something else."""

_HEADERS = ("proc-type:", "dek-info:", "version:", "comment:", "charset:", "hash:")


class Lines:
    """What redaction must remember from one line of a stream to the next."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = 0

    def redact(self, line: str) -> str:
        """Return ``line`` without secrets; a line of a private key's body is one as a whole."""
        if self._left and _is_body(line):
            self._left -= 1
            return REDACTED
        if self._left and "-----END" in line:
            self._left = 0
            return REDACTED + redact(line.partition("-----END")[2].partition("KEY-----")[2])
        self._left = MOST if _begins(line) else 0
        return redact(line)


def _begins(line: str) -> bool:
    """Return whether a private key begins in this line and does not end in it."""
    begin = line.rfind("-----BEGIN ")
    return begin >= 0 and "PRIVATE KEY" in line[begin:] and "-----END" not in line[begin:]


def _is_body(line: str) -> bool:
    """Return whether a line can be one of a private key's: one word, empty, or one of its headers."""
    bare = line.strip()
    return "-----END" not in bare and (" " not in bare or bare.lower().startswith(_HEADERS))
