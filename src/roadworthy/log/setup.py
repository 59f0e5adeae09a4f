"""``roadworthy.log.configure()``: one call that sets up a program's logs; what is not given is found out.

What is found where: the form from ``LOG_FORMAT_JSON``, else from the stage (CONFLICTS C-06); the stage from
``<PREFIX>_ENV``, ``ROADWORTHY_ENV`` or ``ENV``; the level from ``LOG_LEVEL``, else DEBUG where ``DEBUG`` (or
``<PREFIX>_DEBUG``) is true, else INFO (C-69); files unless the program runs in a container or under systemd (C-07). An
argument that makes no sense raises; a variable that makes none is told on standard error and passed over, since nobody
would thank us for a program that does not start.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys

from roadworthy.config import where
from roadworthy.errors import ConfigurationError
from roadworthy.log import pipeline, text
from roadworthy.log.files import KEEP, ROTATE_BYTES, RotatingFile, Rules
from roadworthy.log.handler import Handler
from roadworthy.log.sink import QUEUE, Sink, complain, for_stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "WARN": 30, "ERROR": 40, "CRITICAL": 50, "FATAL": 50}
STAGES = {
    "prod": "production",
    "production": "production",
    "live": "production",
    "stage": "staging",
    "staging": "staging",
    "dev": "development",
    "development": "development",
    "local": "development",
    "test": "testing",
    "testing": "testing",
    "ci": "testing",
}
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_MARKS = ("/.dockerenv", "/run/.containerenv")


class Configured:
    """What :func:`configure` has set up: names, form, level, files, and how many lines were written and lost."""

    __slots__ = ("_sinks", "app", "environment", "files", "json", "level")

    def __init__(
        self, app: str, environment: str, level: int, files: tuple[str, ...], sinks: tuple[Sink, ...], *, json: bool
    ) -> None:
        self.app = app
        self.environment = environment
        self.level = level
        self.files = files
        self.json = json
        self._sinks = sinks

    @property
    def written(self) -> int:
        """How many lines all sinks together have written."""
        return sum(sink.written for sink in self._sinks)

    @property
    def lost(self) -> int:
        """How many lines could not be written, over all sinks."""
        return sum(sink.lost for sink in self._sinks)

    def __repr__(self) -> str:
        form = "json" if self.json else "console"
        return f"Configured({self.app!r}, {self.environment}, {form}, {logging.getLevelName(self.level)}, {self.files})"


def configure(  # noqa: PLR0913 - one call sets up all of it, by keyword
    app: str = "",
    *,
    json: bool | None = None,
    level: int | str | None = None,
    directory: str | os.PathLike[str] | None = None,
    files: bool | None = None,
    stream: object = "stdout",
    rotate_bytes: int = ROTATE_BYTES,
    rotate_every: float = 0.0,
    keep: int = KEEP,
    max_age: float = 0.0,
    queue: int = QUEUE,
    prefix: str = "",
    sessions: str = "marked",
    threads: bool = True,
    environ: Mapping[str, str] | None = None,
) -> Configured:
    """Set up the logs of this program; calling it again replaces what was set up before.

    ``stream`` is "stdout", "stderr", a descriptor, an object with ``write``, or None; ``files`` writes
    ``<directory>/<app>.log``, ``-errors.log`` and ``-security.log``, rotated at ``rotate_bytes`` and, when given, each
    ``rotate_every`` seconds; ``keep`` old ones are kept, none longer than ``max_age`` seconds (0: no limit). ``queue``
    lines wait for a slow stream at most. ``sessions="plain"`` writes session identifiers as they are. With ``threads``
    the identifiers of :class:`CorrelationContext` go along into threads and pools.

    Raises :class:`~roadworthy.errors.ConfigurationError` for an argument that makes no sense; nothing has changed then.
    A directory that cannot be written is told, and its lines are counted as lost: the program goes on.
    """
    env = os.environ if environ is None else environ
    name = where.check_name(app, "configure(app=…)") if app else env.get("ROADWORTHY_APP") or _script()
    stage = stage_of(env, prefix)
    _check(rotate_bytes=rotate_bytes, rotate_every=rotate_every, keep=keep, max_age=max_age, queue=queue)
    if sessions not in {"marked", "plain"}:
        raise ConfigurationError(f"sessions={sessions!r} is neither", why='It is "marked" or "plain".')
    number = level_of(env, prefix) if level is None else _given_level(level)
    form = form_of(env, stage) if json is None else bool(json)
    wanted = directory is not None or files_wanted(env, lambda: _contained(env)) if files is None else files
    folder = os.path.abspath(os.fspath(directory) if directory is not None else default_directory(env, name))

    made = pipeline.Pipeline(name, stage, json=form, names=logging.getLevelName)
    paths = []
    if wanted:
        rules = Rules(rotate_bytes, rotate_every, keep, max_age)
        three = [RotatingFile(folder, f"{name}{part}.log", made.told, rules) for part in ("", "-errors", "-security")]
        made.everything, made.errors, made.security = ((one.write,) for one in three)
        made.sinks += three
        paths = [one.name for one in three]
        for one in three:
            one.open_now()
    if stream is not None:
        sink = for_stream(stream, made.told, queue)
        made.sinks.append(sink)
        if not form and _is_terminal(stream):
            made.coloured = (sink.write,)
        else:
            made.everything = (*made.everything, sink.write)
        if not wanted:
            made.security = (sink.write,)
    text.sessions_plain = sessions == "plain"
    _install(made, number)
    if threads:
        from roadworthy.log import threads as carry

        carry.install()
    return Configured(name, stage, number, tuple(paths), tuple(made.sinks), json=form)


def unconfigure() -> None:
    """Take our handler away and close what was opened: as it was before :func:`configure`, but for the level."""
    before = pipeline.use(None)
    for handler in list(logging.root.handlers):
        if isinstance(handler, Handler):
            logging.root.removeHandler(handler)
    if before is not None:
        before.close()


def _install(made: pipeline.Pipeline, level: int) -> None:
    root = logging.root
    handlers = list(root.handlers)
    before = pipeline.use(made)
    if not any(isinstance(one, Handler) for one in handlers):
        for one in handlers:  # what basicConfig or an import has put there would write everything a second time
            if type(one) is logging.StreamHandler:
                root.removeHandler(one)
        root.addHandler(Handler())
    root.setLevel(level)
    if before is not None:
        before.close()
    elif not _at_exit:
        _at_exit.append(True)
        atexit.register(_close)


_at_exit: list[bool] = []


def _close() -> None:
    if pipeline.current is not None:
        pipeline.current.close()


def stage_of(env: Mapping[str, str], prefix: str = "") -> str:
    """Return the stage that the environment names; development when it names none, what it says when that is new."""
    for name in (*([f"{prefix.upper().rstrip('_')}_ENV"] if prefix else []), "ROADWORTHY_ENV", "ENV", "ENVIRONMENT"):
        given = env.get(name, "").strip().lower()
        if given:
            return STAGES.get(given, given)
    return "development"


def form_of(env: Mapping[str, str], stage: str) -> bool:
    """Return whether entries are JSON: as ``LOG_FORMAT_JSON`` says, else in staging and production."""
    given = env.get("LOG_FORMAT_JSON", "").strip().lower()
    if given in _TRUE | _FALSE:
        return given in _TRUE
    if given:
        complain(f"LOG_FORMAT_JSON is {given[:40]!r}, which is neither true nor false; it is passed over")
    return stage not in {"development", "testing"}


def level_of(env: Mapping[str, str], prefix: str = "") -> int:
    """Return the level that the environment asks for."""
    for name in ("LOG_LEVEL", "ROADWORTHY_LOG_LEVEL"):
        given = env.get(name, "").strip().upper()
        if given in LEVELS:
            return LEVELS[given]
        if given:
            complain(f"{name} is {given[:40]!r}, which is no log level; it is passed over")
    debug = ("DEBUG", *([f"{prefix.upper().rstrip('_')}_DEBUG"] if prefix else []))
    return logging.DEBUG if any(env.get(name, "").strip().lower() in _TRUE for name in debug) else logging.INFO


def files_wanted(env: Mapping[str, str], contained: Callable[[], bool]) -> bool:
    """Return whether a program writes files without being asked: not in a container, and not as a systemd service."""
    if "JOURNAL_STREAM" in env or "INVOCATION_ID" in env:
        return False
    return "KUBERNETES_SERVICE_HOST" not in env and not contained()


def _contained(env: Mapping[str, str]) -> bool:
    """Return whether a container engine runs this, as ``roadworthy detect`` tells it; loaded where there is a mark."""
    if not (env.get("container") or env.get("DOCKER_CONTAINER") or any(map(os.path.exists, _MARKS))):
        return False
    from roadworthy.config.detect import facts, reader

    return facts.container(reader.Reader(env)) is not None


def default_directory(env: Mapping[str, str], app: str) -> str:
    """Return where files go: ``LOG_DIR``; under ``roadworthy run`` the application's state directory; else ``logs``."""
    if given := env.get("LOG_DIR", ""):
        return given
    if env.get("ROADWORTHY_APP"):
        return os.path.join(where.state_root(env, app), "logs")
    return "logs"


def _given_level(level: int | str) -> int:
    if isinstance(level, int) and not isinstance(level, bool) and level >= 0:
        return level
    number = LEVELS.get(str(level).strip().upper())
    if number is None:
        raise ConfigurationError(
            f"{level!r} is no log level",
            why="It came from configure(level=…).",
            hint="One of DEBUG, INFO, WARNING, ERROR, CRITICAL.",
        )
    return number


def _check(**numbers: object) -> None:
    for name, given in numbers.items():
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given < float("inf"):
            raise ConfigurationError(
                f"{name}={given!r} is no limit",
                why="It came from configure(); it is a number, 0 for no limit.",
                hint=f"Leave {name} out to have the usual one.",
            )


def _is_terminal(stream: object) -> bool:
    try:
        found: Any = getattr(sys, str(stream)) if stream in {"stdout", "stderr"} else stream
        return os.isatty(found if isinstance(found, int) else found.fileno()) and not os.environ.get("NO_COLOR")
    except Exception:  # noqa: BLE001 - an object without a descriptor is no terminal
        return False


def _script() -> str:
    stem = os.path.splitext(os.path.basename(sys.argv[0] if getattr(sys, "argv", None) else ""))[0]
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in stem)
    return kept.lstrip("._-")[:64] or "python"
