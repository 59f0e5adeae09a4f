"""Is the audit trail whole? Every file is read, and the first link that is broken is named.

What a chain cannot show: that somebody who may write the files has made a whole new one, or has cut off its end and put
the head file back. Against that, keep the head's hash elsewhere and hand it in as ``expect``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from roadworthy.config import regular
from roadworthy.errors import NotFound, Unavailable, UsageError
from roadworthy.log import chain, trail
from roadworthy.log import head as heads
from roadworthy.log.chain import GENESIS, Link

CHANGED: Final = "changed"
REMOVED: Final = "removed"
INSERTED: Final = "inserted"
REORDERED: Final = "reordered"
TRUNCATED: Final = "truncated"
CUT_OFF: Final = "cut-off"
OTHER: Final = "another trail"

SHORTEST_EXPECTED: Final = 16
"""Hexadecimal digits that an expected hash has at least."""

_PATIENCE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Broken:
    """The first broken link: ``what`` is one of this module's words, ``line`` counts from 1 in ``file``."""

    file: str
    line: int
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of a verification; ``head`` is the last good record's hash, empty when there is none.

    ``unchained`` counts lines of an older version before the chain: they were not changed since, no more is known of
    them. ``cut_off`` counts lines that a kill or a full disk cut off, each told by the record after it.
    """

    records: int
    files: tuple[str, ...]
    app: str = ""
    since: float | None = None
    head_seq: int = 0
    head: str = ""
    unchained: int = 0
    cut_off: int = 0
    notes: tuple[str, ...] = ()
    broken: Broken | None = None

    @property
    def whole(self) -> bool:
        """Return whether no link is broken."""
        return self.broken is None


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it stands in a file; ``ended`` tells whether a line feed follows it."""

    file: str
    number: int
    text: bytes
    ended: bool


def verify(folder: str, *, expect: str = "") -> Verified:
    """Check the trail in ``folder``; ``expect`` is a hash of a record of it that was kept elsewhere, or its beginning.

    Raises :class:`NotFound` when there is no trail, :class:`Unavailable` when it cannot be read and
    :class:`UsageError` for an ``expect`` that is no hash.
    """
    expect = expect.strip().lower()
    if expect and (len(expect) < SHORTEST_EXPECTED or not set(expect) <= set("0123456789abcdef")):
        raise UsageError(
            f"{expect[:80]!r} is no hash of a record",
            why=f"One has 64 hexadecimal digits, of which at least {SHORTEST_EXPECTED} are needed.",
            hint="roadworthy trail verify prints the last one: keep that.",
        )
    told, files = _snapshot(folder)
    walk = _Walk(told, expect)
    for line in lines(files):
        walk.take(line)
    return walk.end(tuple(os.path.basename(path) for path, _ in files), lambda: lines(files))


def lines(files: list[tuple[str, int]]) -> Iterator[Line]:
    """Yield the lines of these files, of each only its first so many bytes; raises :class:`Unavailable`."""
    for path, size in files:
        name, left, number = os.path.basename(path), size, 0
        try:
            with os.fdopen(regular.handle(path), "rb") as file:
                while left > 0 and (text := file.readline(left)):
                    number += 1
                    left -= len(text)
                    yield Line(name, number, text.removesuffix(b"\n"), text.endswith(b"\n"))
        except OSError as error:
            raise _unreadable(path, error) from error


def _snapshot(folder: str) -> tuple[tuple[int, str] | None, list[tuple[str, int]]]:
    """Return head, and files with their sizes, as they stood at one moment."""
    try:
        with trail.locked(folder, _PATIENCE, make=False):
            return _look(folder)
    except (FileNotFoundError, PermissionError):
        return _look(folder)  # nobody appends here: it is a copy, of an older version, or somebody else's
    except OSError as error:
        raise _unreadable(folder, error) from error


def _look(folder: str) -> tuple[tuple[int, str] | None, list[tuple[str, int]]]:
    try:
        names = trail.archives(folder)
        paths = [os.path.join(folder, name) for name in (*names, trail.FILE)]
        files = [(path, os.stat(path).st_size) for path in paths if os.path.lexists(path)]
    except FileNotFoundError:
        files = []
    except OSError as error:
        raise _unreadable(folder, error) from error
    told = heads.read(folder)
    if not files and told is None:
        raise NotFound(
            f"there is no audit trail in {folder}",
            why="Nothing has been recorded there yet, or it is another folder.",
            hint="A program that runs under roadworthy has one once something was changed: roadworthy trail NAME show",
        )
    return told, files


def _unreadable(path: str, error: OSError) -> Unavailable:
    return Unavailable(
        f"cannot read {path}", why=f"{error.strerror} (errno {error.errno}).", hint="Run this as the user that owns it."
    )


class _Walk:
    """Follows the chain line by line until it breaks."""

    def __init__(self, told: tuple[int, str] | None, expect: str) -> None:
        self._told = told
        self._expect = expect
        self._expected = not expect
        self._at = Link(0, "", GENESIS)
        self._count = 0
        self._waiting: Line | None = None
        self._last: Line | None = None
        self._before: list[Line] = []
        self._cut = 0
        self._app = ""
        self._since: float | None = None
        self._unchained = 0
        self._notes: list[str] = []
        self._broken: Broken | None = None
        self._puzzling: Line | None = None

    def take(self, line: Line) -> None:
        """Follow one line."""
        if self._broken is not None or self._puzzling is not None:
            return
        self._last = line
        link = chain.parse(line.text)
        if link is None and self._at.seq == 0:
            self._before.append(line)
        elif link is None:
            if self._waiting is not None:
                self._puzzling = self._waiting
            self._waiting = line
        elif not link.follows(self._at.seq, self._at.hash):
            self._puzzling = self._waiting or (line if self._at.seq else self._first_wrong(line))
        else:
            self._link(line, link)

    def _link(self, line: Line, link: Link) -> None:
        record = chain.load(line.text) if link.seq == 1 or self._waiting is not None else {}
        data = record.get("data")
        if link.seq == 1:
            self._begin(record, data if isinstance(data, dict) else {})
        if self._waiting is not None:
            known = isinstance(data, dict) and data.get("sha256") == chain.digest(self._waiting.text)
            if record.get("act") != chain.CUT_OFF or not known:
                self._puzzling = self._waiting
                return
            self._cut += 1
            self._waiting = None
        if self._told is not None and link.seq == self._told[0] and link.hash != self._told[1]:
            detail = f"{trail.HEAD} names another record as number {link.seq}"
            self._broken = Broken(line.file, line.number, CHANGED, detail)
        if self._told is not None and link.seq <= self._told[0] and not line.ended:
            self._broken = Broken(line.file, line.number, CUT_OFF, "its end is missing")
        if self._broken is None:
            self._at = link
            self._count += 1
            self._expected = self._expected or link.hash.startswith(self._expect)

    def _first_wrong(self, line: Line) -> Line:
        """Return where record 1 should stand, when ``line`` is the first link and another one."""
        for one in self._before:
            if not chain.load(one.text) or any(mark in one.text for mark in (b'"seq":', b'"prev":', b'"hash":')):
                return one
        return line

    def _begin(self, record: dict[str, object], data: dict[str, Any]) -> None:
        begins = record.get("begins")
        if isinstance(begins, dict):
            self._app = str(begins.get("app", ""))
            at = begins.get("at")
            self._since = float(at) if isinstance(at, int | float) else None
        if not self._before:
            return
        first = self._before[0]
        size = data.get("bytes")
        old = b"".join(one.text + b"\n" for one in self._before)
        if record.get("act") != chain.CONTINUED:
            self._broken = Broken(first.file, first.number, INSERTED, "it stands before the first record")
        elif size not in {len(old), len(old) - 1} or chain.digest(old[:size]) != data.get("sha256"):
            which = f"one of the {len(self._before)} lines before the chain is not what it was when the chain began"
            self._broken = Broken(first.file, first.number, CHANGED, which)
        else:
            self._unchained = len(self._before)

    def end(self, files: tuple[str, ...], again: Callable[[], Iterator[Line]]) -> Verified:
        """Return the result; ``again`` gives all lines once more, which is needed to tell what has happened."""
        if self._puzzling is None and self._broken is None:
            self._judge_end()
        if self._puzzling is not None and self._broken is None:
            self._broken = _explain(self._puzzling, self._at, [(one, chain.parse(one.text)) for one in again()])
        return Verified(
            self._count, files, self._app, self._since, self._at.seq, self._at.hash if self._at.seq else "",
            self._unchained, self._cut, tuple(self._notes), self._broken,
        )  # fmt: skip

    def _judge_end(self) -> None:
        seq, told = self._at.seq, self._told
        file, number = (self._last.file, self._last.number) if self._last is not None else (trail.FILE, 0)
        if self._waiting is not None:
            cut = self._waiting
            if cut.ended:
                self._puzzling = cut
                return
            if told is not None and told[0] > seq:
                self._broken = Broken(cut.file, cut.number, CUT_OFF, f"record {seq + 1} is not whole")
                return
            self._notes.append(f"line {cut.number} of {cut.file} was cut off while it was written; it never counted")
        if self._before and not seq:
            if told is not None:
                self._broken = Broken(file, 1, CHANGED, "there is a head file, but no record of its chain")
            self._unchained = len(self._before)
            self._notes.append("no line is in a chain: an older version wrote them, and nothing is known of changes")
        elif told is not None and told[0] > seq:
            missing = f"record {told[0]} is" if told[0] == seq + 1 else f"records {seq + 1} to {told[0]} are"
            self._broken = Broken(file, number + 1, TRUNCATED, f"{missing} missing at the end")
        elif told is None and seq > 1:
            self._broken = Broken(trail.HEAD, 0, REMOVED, "without it nobody can say whether records are missing")
        elif not self._expected:
            self._broken = Broken(file, number, OTHER, f"no record has the hash {self._expect} that was expected")
        elif seq > (told[0] if told is not None else 0):
            self._notes.append(f"{trail.HEAD} is behind; the next append brings it up")


def _explain(line: Line, at: Link, everything: list[tuple[Line, Link | None]]) -> Broken:
    """Return what has happened at ``line``, where the record after ``at`` should stand."""
    index = next(number for number, (one, _) in enumerate(everything) if one == line)
    link = everything[index][1]
    rest = [found for _, found in everything[index + 1 :] if found is not None]
    following = everything[index + 1][1] if index + 1 < len(everything) else None
    is_next = following is not None and following.follows(at.seq, at.hash)
    later = any(found.follows(at.seq, at.hash) for found in rest)
    twice = link is not None and sum(one is not None and one.hash == link.hash for _, one in everything) > 1
    wanted = at.seq + 1
    if link is None:
        what, detail = (
            (INSERTED, "no record of the chain") if is_next else (CHANGED, f"record {wanted} is not what its hash says")
        )
    elif is_next and (twice or link.seq <= at.seq):
        what, detail = INSERTED, f"a record with the number {link.seq} stands where {wanted} follows"
    elif later and link.seq > wanted:
        what, detail = REORDERED, f"record {link.seq} stands where {wanted} should, which comes later"
    elif later:
        what, detail = INSERTED, f"record {wanted} comes later"
    elif link.seq > wanted:
        missing = f"record {wanted} is" if link.seq == wanted + 1 else f"records {wanted} to {link.seq - 1} are"
        what, detail = REMOVED, f"{missing} missing before it"
    elif link.seq == wanted:
        what, detail = CHANGED, f"record {wanted} does not follow the one before it"
    else:
        what, detail = INSERTED, f"record {link.seq} stands here again, {wanted} should"
    return Broken(line.file, line.number, what, detail)
