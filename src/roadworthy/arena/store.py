"""Makes the files of one process: headers, base file, extents, and the description that readers are given."""

from __future__ import annotations

import os
import sys
from itertools import count

from roadworthy._clock import monotonic_ns, wall_ns
from roadworthy.arena import files
from roadworthy.arena.identity import boot_id, start_ticks
from roadworthy.arena.layout import (
    BOOT_AT,
    H_BLOCKS,
    H_EXTENTS,
    H_FLAGS,
    H_GENERATION,
    H_INFO_LENGTH,
    H_MAGIC,
    H_MONO,
    H_PID,
    H_PPID,
    H_PYTHON,
    H_SERIES,
    H_SIZE,
    H_SLOT,
    H_STACK_FD,
    H_STATE,
    H_TICKS,
    H_VERSION,
    H_WALL,
    HEADER_BYTES,
    INFO_AT,
    INFO_BYTES,
    MAGIC,
    STATE_LIVE,
    VERSION,
    Sizes,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from roadworthy.arena.hot import Cell

_TRIES = 1000
_drafts = count()
_numbers = count()


class Store:
    """Makes files for the process that runs it, in ``directory``; ``slot`` is the worker's slot + 1, 0 for none."""

    def __init__(self, directory: str, sizes: Sizes, slot: int, generation: int, flags: int) -> None:
        self.directory = directory
        self.sizes = sizes
        self.at = {word: at for word, at, _, _ in sizes.sections}
        self.extent_blocks_at = HEADER_BYTES + self.at[H_BLOCKS] - self.at[H_SERIES]
        self.slot = slot
        self.generation = generation
        self.flags = flags

    def new_base(self) -> files.Mapped:
        """Make the base file of the process that we are now, not yet open to readers; raises as ``files.create``."""
        stem = f"{boot_id()[:8]}-{os.getpid()}-{start_ticks()}-"
        for _ in range(_TRIES):
            # Never a number twice in one process: whoever has taken the last words of a file knows it by its name.
            path = os.path.join(self.directory, f"{stem}{next(_numbers)}{files.TYPE}")
            try:
                made = files.create(path, self.sizes.base_bytes)
            except FileExistsError:
                continue
            self._fill_header(made, self.sizes.base_bytes, 0)
            return made
        raise files.failed(os.path.join(self.directory, stem), FileExistsError(17, "too many arenas of one process"))

    def _fill_header(self, made: files.Mapped, size: int, number: int) -> None:
        q = made.q
        q[H_MAGIC] = MAGIC
        q[H_VERSION] = VERSION
        q[H_SIZE] = size
        q[H_PID] = os.getpid()
        q[H_TICKS] = start_ticks()
        q[H_GENERATION] = self.generation
        q[H_SLOT] = self.slot
        q[H_MONO] = monotonic_ns()
        q[H_WALL] = wall_ns()
        q[H_PPID] = os.getppid()
        q[H_FLAGS] = self.flags
        q[H_STACK_FD] = -1
        q[H_PYTHON] = sys.hexversion
        q[H_EXTENTS] = number
        for word, at, slots, each in self.sizes.sections:
            if number == 0 or word in {H_SERIES, H_BLOCKS}:
                q[word] = at if number == 0 else at - self.at[H_SERIES] + HEADER_BYTES
                q[word + 1] = slots
                q[word + 2] = each
        boot = boot_id().encode("ascii")
        made.b[BOOT_AT : BOOT_AT + len(boot)] = boot

    def extent_file(self, base: str, number: int) -> files.Mapped:
        """Make extent ``number`` of ``base``, or map it if another thread was first; raises as ``files.create``."""
        size = self.sizes.extent_bytes
        if not base:
            return files.private_memory(size)
        final = f"{base.removesuffix(files.TYPE)}.x{number}"
        draft = f"{final}.{next(_drafts)}"
        made = files.create(draft, size)
        try:
            self._fill_header(made, size, number)
            made.q[H_STATE] = STATE_LIVE
            try:
                os.link(draft, final)
            except FileExistsError:
                return files.attach(final, size)
            made.path = final
            return made
        finally:
            files.unlink(draft)

    def private_memory(self, number: int) -> files.Mapped:
        """Return memory of the shape of file ``number`` that nobody reads."""
        return files.private_memory(self.sizes.extent_bytes if number else self.sizes.base_bytes)


def write_info(cell: Cell | files.Mapped, info: Mapping[str, object]) -> None:
    """Write ``info`` as JSON; while it is too long, the longest value is halved."""
    kept = {
        key: value if isinstance(value, (list, int, float, bool)) or value is None else str(value)
        for key, value in info.items()
    }
    while len(body := _json(kept)) > INFO_BYTES:
        longest = max(kept, key=lambda key: len(str(kept[key])))
        value = kept[longest]
        if not isinstance(value, (str, list)) or len(value) < 2:  # noqa: PLR2004 - nothing left to halve
            kept.pop(longest)
        else:
            kept[longest] = value[: len(value) // 2]
    cell.q[H_INFO_LENGTH] = 0
    cell.b[INFO_AT : INFO_AT + len(body)] = body
    cell.q[H_INFO_LENGTH] = len(body)


def _json(value: object) -> bytes:
    """Return ``value`` as JSON. What is plain is written by hand: importing ``json`` costs a start milliseconds."""
    text = _plain_json(value)
    if text is None:
        import json

        text = json.dumps(value, default=str)
    return text.encode()


def _plain_json(value: object) -> str | None:  # noqa: PLR0911 - a table of kinds
    if type(value) is str:
        if not (value.isascii() and value.isprintable()):
            return None
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if value is None or type(value) is bool:
        return "null" if value is None else "true" if value else "false"
    if type(value) is int:
        return str(value)
    if type(value) is list:
        parts = [_plain_json(one) for one in value]
        return None if None in parts else f"[{', '.join(part for part in parts if part)}]"
    if type(value) is dict:
        pairs = [(_plain_json(key) if type(key) is str else None, _plain_json(one)) for key, one in value.items()]
        kept = [f"{key}: {one}" for key, one in pairs if key is not None and one is not None]
        return "{" + ", ".join(kept) + "}" if len(kept) == len(pairs) else None
    return None
