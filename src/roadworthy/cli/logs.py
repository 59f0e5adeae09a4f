"""``roadworthy logs``: what a program says, all its workers in one stream, from log files or the flight recorder."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from roadworthy import _clock
from roadworthy.cli.settings import seconds
from roadworthy.config.places import places
from roadworthy.errors import NotFound, NotRunning, UsageError
from roadworthy.log.files import rotated
from roadworthy.view.client import choose, connect, lives
from roadworthy.view.logs import LEVELS, Entry, Wanted, backwards, draw, forwards, from_event, order, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from roadworthy.config.places import Places

BLOCK = 1 << 16
POLL = 0.2
"""Seconds between looks at a file that is followed."""

LATE = 1.0
"""Seconds by which workers' lines may be out of order."""

PARTS = {"all": "", "errors": "-errors", "security": "-security"}


@click.command()
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is said from now on, until interrupted.")
@click.option("-n", "--lines", type=click.IntRange(0), help="How many entries; 50, or with --since all of them.")
@click.option("--level", type=click.Choice(list(LEVELS), case_sensitive=False), help="Only of this level and above.")
@click.option("--grep", metavar="REGEX", help="Only entries in which this is found, fields included.")
@click.option("--since", metavar="DURATION", help="Only of the last so long, for example 10m.")
@click.option("--correlation", metavar="ID", default="", help="Only entries that carry this correlation or trace ID.")
@click.option(
    "--part", type=click.Choice(list(PARTS)), default="all", show_default=True, help="Which of its log files."
)
@click.option("--dir", "directory", metavar="DIR", help="Where its log files are, when not in the usual places.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def logs(  # noqa: PLR0913 - one parameter an option
    name: str | None,
    lines: int | None,
    level: str | None,
    grep: str | None,
    since: str | None,
    correlation: str,
    part: str,
    directory: str | None,
    *,
    follow: bool,
    as_json: bool,
) -> int:
    """Show what a program says: all its workers, by time, redacted.

    It is read from the program's log files (roadworthy.log.configure): LOG_DIR, the state directory, ./logs. A program
    that writes none is asked through its agent, which keeps the newest 5000 events of its flight recorder. The exit
    code is 0 when there was something to read from.
    """
    wanted = Wanted(
        LEVELS[level.lower()] if level else 0,
        _pattern(grep),
        _clock.wall() - seconds(since, "--since") if since else 0.0,
        correlation,
    )
    most = lines if lines is not None else 0 if since else 50
    show = _json if as_json else _people
    app, path = locate(name, directory, PARTS[part])
    if path is not None:
        if not follow:
            show(last(path, wanted, most))
            return 0
        with closing(Followed(path)) as followed:  # from here on nothing is missed
            show(last(path, wanted, most))
            _follow(followed.news, wanted, show)
    if part != "all":
        raise NotFound(
            f"{app.app} writes no {part} log" if app else "there is no log file",
            why="Only log files are kept apart; the flight recorder is not.",
            hint="Call roadworthy.log.configure(files=True) in the program.",
        )
    assert app is not None  # noqa: S101 - locate has either
    show(_from_agent(app, wanted, most, show, follow=follow))
    return 0


def locate(name: str | None, directory: str | None, part: str) -> tuple[Places | None, Path | None]:
    """Return the application and its log file; the file is None where there is none, never both.

    Raises as :func:`choose`, and :class:`NotFound` when ``--dir`` holds no such file.
    """
    if directory is not None:
        return None, _in(Path(directory), name, part, asked=True)
    app = places(name) if name is not None else None
    if name is None:
        try:
            app = choose(None)
        except NotRunning:
            found = _in(Path("logs"), None, part)
            if found is None:
                raise
            return None, found
    assert app is not None  # noqa: S101 - named or chosen
    usual = [Path(os.environ["LOG_DIR"])] if os.environ.get("LOG_DIR") else []
    for folder in (*usual, app.state / "logs", Path("logs")):
        found = _in(folder, app.app, part)
        if found is not None:
            return app, found
    if not lives(app):
        choose(name)  # says what runs instead
    return app, None


def _in(folder: Path, name: str | None, part: str, *, asked: bool = False) -> Path | None:
    """Return the log file in a folder: that of ``name``, or the only one."""
    if name is not None:
        path = folder / f"{name}{part}.log"
        if path.exists() or rotated(str(path)) if folder.is_dir() else False:
            return path
        names = [path.name]
    else:
        others = tuple(f"{one}.log" for one in PARTS.values() if one)
        mains = sorted(path for path in folder.glob("*.log") if not path.name.endswith(others))
        if len(mains) == 1:
            return mains[0].with_name(f"{mains[0].stem}{part}.log")
        names = [path.name for path in mains]
    if asked:
        raise NotFound(
            f"which log in {folder}?" if len(names) > 1 else f"no log in {folder}",
            why=f"{', '.join(names)} is there."
            if name is None and names
            else f"{', '.join(names) or 'None'} was looked for.",
            hint="Name the application: roadworthy logs NAME --dir DIR",
        )
    return None


def last(path: Path, wanted: Wanted, most: int) -> list[Entry]:
    """Return the newest ``most`` entries that are wanted (0: all), from the file and those that it was moved on to."""
    files = [Path(one) for one, _ in rotated(str(path))]
    if path.exists():
        files.append(path)
    lines = (line for file in reversed(files) for line in lines_backwards(file))
    found = (entry for entry in _recent(backwards(lines), wanted.since) if wanted.takes(entry))
    return order(reversed(list(islice(found, most) if most else found)))


def _recent(entries: Iterable[Entry], since: float) -> Iterator[Entry]:
    """Yield entries, newest first, until all that follow are older; workers' lines may be a little out of order."""
    for entry in entries:
        if entry.at is not None and entry.at < since - LATE:
            return
        yield entry


def lines_backwards(path: Path) -> Iterator[str]:
    """Yield the lines of a file, the last one first, without reading more of it than is asked for."""
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        rest = b""
        while at > 0:
            size = min(BLOCK, at)
            at -= size
            file.seek(at)
            first, *whole = (file.read(size) + rest).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in reversed(whole) if line)
            rest = first
        if rest:
            yield rest.decode("utf-8", "replace")


class Followed:
    """A log file that is followed, also when it is moved on and begun anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = {os.stat(one).st_ino for one, _ in rotated(str(path))}  # noqa: PTH116 - names, as they come
        self._file = path.open("rb") if path.exists() else None
        self._rest = b""
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)
            self._seen.add(os.fstat(self._file.fileno()).st_ino)

    def news(self) -> list[str]:
        """Return the whole lines that were added since the last call."""
        made = self._read()
        for name in (*[one for one, _ in rotated(str(self._path))], str(self._path)):
            try:
                file = Path(name).open("rb")  # noqa: SIM115 - it stays open while it is followed
            except FileNotFoundError:
                continue
            number = os.fstat(file.fileno()).st_ino
            if number in self._seen:
                file.close()
                continue
            self._seen.add(number)
            if self._file is not None:
                made += self._read()  # what came into the old one while we looked
                self._file.close()
            self._file, self._rest = file, b""
            made += self._read()
        return made

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()

    def _read(self) -> list[str]:
        if self._file is None:
            return []
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # somebody has emptied it
        *whole, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [line.decode("utf-8", "replace") for line in whole if line]


def _follow(news: Callable[[], list[str]], wanted: Wanted, show: Callable[[list[Entry]], None]) -> NoReturn:
    while True:
        lines = news()
        if lines:
            show([entry for entry in forwards(lines) if wanted.takes(entry)])
        else:
            _clock.sleep(POLL)


def _from_agent(
    app: Places, wanted: Wanted, most: int, show: Callable[[list[Entry]], None], *, follow: bool
) -> list[Entry]:
    """Return what the flight recorder holds, or with ``follow`` show it and go on; without an agent, from arenas."""
    agent = connect(app)
    if agent is None:
        from roadworthy.view import offline
        from roadworthy.view.snapshot import plain

        if follow:
            raise UsageError(
                f"no agent runs for {app.app}",
                why="Without one only what is in the arenas now can be read.",
                hint=f"roadworthy attach {app.app} starts one; or leave --follow out.",
            )
        return _chosen([plain(event) for event in offline.snapshot(app).events], wanted, most)
    for number, batch in enumerate(agent.events()):
        entries = _chosen(batch, wanted, most if number == 0 else 0)
        if not follow:
            return entries
        show(entries)
    return []


def _chosen(events: Iterable[dict[str, object]], wanted: Wanted, most: int) -> list[Entry]:
    entries = [entry for event in events if (entry := from_event(event)) is not None and wanted.takes(entry)]
    return order(entries[-most:] if most else entries)


def _people(entries: list[Entry]) -> None:
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for entry in entries:
        click.echo("\n".join(draw(entry, colour=colour)), color=True)
    sys.stdout.flush()


def _json(entries: list[Entry]) -> None:
    for entry in entries:
        click.echo(to_json(entry))
    sys.stdout.flush()


def _pattern(text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(
            f"--grep: {text!r} is no regular expression",
            why=f"{error}.",
            hint="Put a \\ before signs to find as they are.",
        ) from error
