"""An application's own settings: one class, checked as a whole, every value with its origin.

::

    class Speech(BaseModel):
        enabled: bool = False
        key: Annotated[Secret | None, Env("ELEVENLABS_API_KEY"), RequiredIf("speech.enabled")] = None

    class Config(Settings, prefix="DGT"):
        target_fps: int = Field(60, ge=1, le=240)
        speech: Speech = Speech()

    config = Config.load()

Sources and their order are those of :mod:`roadworthy.config.load`; ``[app]`` in ``roadworthy.toml`` and
``[tool.roadworthy.app]`` are the application's. A reload reads and checks everything anew and then exchanges all values
at once, or none. Sections that somebody has kept stay as they were: ask the settings themselves.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, ValidationInfo, model_validator

from roadworthy.config import declared as declarations
from roadworthy.config import layers, load, model, profiles, reloads, rules
from roadworthy.config.example import env_example
from roadworthy.config.layers import Layer
from roadworthy.config.markers import Asset, Env, Folder, RequiredIf
from roadworthy.config.origin import DEFAULT, Candidate, Issue, Origin, nearest, refusal, shown
from roadworthy.errors import ConfigurationError, NotFound, RoadworthyError
from roadworthy.types import Secret

if TYPE_CHECKING:
    from roadworthy.config.declared import Declared

Subscriber = Callable[["Settings", Sequence[str]], object]
S = TypeVar("S", bound="Settings")
SecretOf = Callable[[str], Secret | None]

_OPEN: Final = ("cors_origins", "allowed_hosts")


class Settings(BaseModel):
    """The base class; ``class Mine(Settings, prefix="DGT")`` names the prefix of its environment variables.

    Values cannot be assigned: they come from their sources.
    """

    model_config = ConfigDict(frozen=True, validate_default=True, hide_input_in_errors=True, extra="ignore")

    prefix: ClassVar[str] = ""

    environment: Annotated[Literal["development", "testing", "staging", "production"], Env("ROADWORTHY_ENV", "ENV")] = (
        "development"
    )
    debug: bool = False
    log_level: str = "INFO"

    _found: _Found = PrivateAttr(default_factory=lambda: _Found({}, {}, (), (), lambda: None))
    _subscribers: list[Subscriber] = PrivateAttr(default_factory=list)
    _changing: Any = PrivateAttr(default_factory=threading.Lock)

    def __init_subclass__(cls, prefix: str | None = None, **given: Any) -> None:  # noqa: ANN401 - pydantic's
        super().__init_subclass__(**given)
        if prefix is not None:
            cls.prefix = prefix.rstrip("_").upper()

    @model_validator(mode="before")
    @classmethod
    def _words(cls, given: Any, _info: ValidationInfo) -> Any:  # noqa: ANN401 - pydantic's
        """Take a kind of place as the stage it means, and a level in any case."""
        if isinstance(given, dict):
            made = dict(given)
            for name, fold in (("environment", str.lower), ("log_level", str.upper)):
                if isinstance(made.get(name), str):
                    made[name] = fold(made[name].strip())
            made["environment"] = _stage(made.get("environment", "development"))
            return made
        return given

    # -- getting them

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        root: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
        secret_of: SecretOf | None = None,
    ) -> Self:
        """Return the settings; raises :class:`ConfigurationError` with everything that is wrong.

        ``path`` is a file (JSON or TOML) that takes the place of ``config/<stage>.json``; without one it is what
        ``<PREFIX>_CONFIG`` names. A file that is not there is no error. ``root`` is the application's root (by default
        the current directory), ``environ`` the environment, ``secret_of`` looks secrets up.
        """
        where = Path(root) if root is not None else Path.cwd()

        def read() -> _Read:
            env = os.environ if environ is None else environ
            return _read(cls, None if path is None else Path(path), where, env, secret_of or _secrets(environ, where))

        made = _made(cls, read(), read)
        _follow(made)
        return made

    @classmethod
    def check(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        root: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
        secret_of: SecretOf | None = None,
    ) -> tuple[Issue, ...]:
        """Return everything that is wrong instead of raising it; nothing is created. For deployment and preflight."""
        where = Path(root) if root is not None else Path.cwd()
        env = os.environ if environ is None else environ
        found = _read(cls, None if path is None else Path(path), where, env, secret_of or _secrets(environ, where))
        return found.issues

    @classmethod
    def load_or_exit(cls, path: str | os.PathLike[str] | None = None) -> Self:
        """Return the settings, or end the program with exit code 3 and everything that is wrong on standard error."""
        try:
            return cls.load(path)
        except RoadworthyError as error:
            print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)  # noqa: T201 - that is what it is for
            raise SystemExit(error.exit_code) from None

    @classmethod
    def env_example(cls) -> str:
        """Return a complete ``.env.example``; what is required is not commented out."""
        return env_example(declarations.declared(cls, cls.prefix).keys, cls.__name__)

    # -- asking them

    def origin(self, name: str) -> Origin:
        """Return where a value came from, by its dotted name; raises :class:`NotFound`."""
        keys = self._found.values
        if name not in keys:
            like = nearest(name, keys)
            raise NotFound(f"there is no setting {name[:80]!r}", hint=f"Did you mean {like}?" if like else "")
        return self._found.origins.get(name, DEFAULT)

    def rows(self) -> list[dict[str, Any]]:
        """Return every setting with its value and origin, secrets redacted."""
        return [
            {
                "key": name,
                "value": shown(load.plain(value), secret=isinstance(value, Secret)),
                "origin": self.origin(name).where,
            }
            for name, value in self._found.values.items()
        ]

    @property
    def warnings(self) -> tuple[Issue, ...]:
        """Return what was only warned about."""
        return tuple(issue for issue in self._found.issues if not issue.error)

    @property
    def missing(self) -> tuple[str, ...]:
        """Return optional settings that have no value: what needs them is off."""
        return tuple(name for name, value in self._found.values.items() if value is None)

    @property
    def files(self) -> tuple[str, ...]:
        """Return the files that were read; none of them is there when the defaults count."""
        return self._found.files

    # -- changing them

    def subscribe(self, function: Subscriber) -> Callable[[], None]:
        """Have ``function(settings, changed names)`` called after a reload that changed something; returns its end."""
        self._subscribers.append(function)

        def end() -> None:
            if function in self._subscribers:
                self._subscribers.remove(function)

        return end

    def reload(self) -> tuple[str, ...]:
        """Read everything anew and return the names of what changed; subscribers are told after all has changed.

        Raises :class:`ConfigurationError` with everything that is wrong, and nothing has changed then. Called by
        itself when the agent is told to reload.
        """
        with self._changing:
            fresh = _made(type(self), self._found.read(), self._found.read)
            found, values = fresh._found, fresh.__dict__  # noqa: SLF001 - of our own class
            before, after = self._found.values, found.values
            changed = tuple(name for name, value in after.items() if before.get(name) != value)
            object.__setattr__(self, "__dict__", values)  # one assignment: readers see all old or all new values
            self._found = found
        for function in tuple(self._subscribers) if changed else ():
            function(self, changed)
        return changed


class _Found:
    """What a settings object knows of itself besides its values."""

    __slots__ = ("files", "issues", "origins", "read", "values")

    def __init__(
        self,
        values: Mapping[str, Any],
        origins: Mapping[str, Origin],
        issues: tuple[Issue, ...],
        files: tuple[str, ...],
        read: Callable[[], Any],
    ) -> None:
        self.values, self.origins, self.issues, self.files, self.read = values, origins, issues, files, read


class _Read:
    """The outcome of reading and checking: an instance, or None with the issues that say why."""

    __slots__ = ("chosen", "declared", "files", "issues", "made", "root")

    def __init__(self, declared: Declared, root: Path) -> None:
        self.declared, self.root = declared, root
        self.chosen: dict[str, Candidate] = {}
        self.issues: tuple[Issue, ...] = ()
        self.files: tuple[str, ...] = ()
        self.made: Any = None


def _read(
    cls: type[Settings], path: Path | None, root: Path, environ: Mapping[str, str], secret_of: SecretOf | None
) -> _Read:
    found = _Read(declarations.declared(cls, cls.prefix), root)
    keys = found.declared.keys
    named = path or Path(environ.get(f"{cls.prefix}_CONFIG", "") or ".") if cls.prefix or path else Path()
    given = None if named in {Path(), Path()} else named
    ranked = [
        layers.of_environment(keys, environ, strays=False),
        layers.of_dotenv(keys, root / ".env", shown=".env", strays=False),
        layers.of_secrets(keys, secret_of),
        layers.of_toml(keys, root / load.TOML, shown=load.TOML, below=("app",), leave=""),
        layers.of_toml(
            keys, root / "pyproject.toml", shown="pyproject.toml", below=("tool", "roadworthy", "app"), leave=""
        ),
    ]
    if given is not None:
        ranked.append(_file(keys, root / given, str(given)))
    by_hand = load.first(ranked, "environment")
    word = str(by_hand.value).strip().lower() if by_hand is not None else None
    if given is None:
        ranked.append(load.stage_file(keys, root, word, ranked))
    label, profiled = profiles.profile(word, environ)
    profile = layers.of_profile(keys, label, profiled, chosen=load.asked(by_hand))
    ranked += [load.implied(ranked), load.safe(profile, load.stage_of(word, Layer("default")))]
    for name in keys.by_name:
        candidate = load.first(ranked, name)
        if candidate is not None:
            found.chosen[name] = candidate
    found.files = tuple(dict.fromkeys(layer.found for layer in ranked if layer.found))
    issues = [issue for layer in ranked for issue in layer.issues]
    issues += _validated(cls, found)
    found.issues = tuple(issues)
    if any(issue.error for issue in issues):
        found.made = None
    return found


def _file(keys: Any, path: Path, name: str) -> Layer:  # noqa: ANN401 - Keys
    if path.suffix == ".toml":
        return layers.of_toml(keys, path, shown=name, strict=False, leave="")
    return layers.of_json(keys, path, shown=name)


def _validated(cls: type[Settings], found: _Read) -> list[Issue]:
    """Check the chosen values; on success ``found.made`` is the instance."""
    keys = found.declared.keys
    tree: dict[str, Any] = {}
    rooted = {name for kind in (Folder, Asset) for name, _ in found.declared.of(kind)}
    for name, key in keys.by_name.items():
        candidate = found.chosen.get(name)
        value = candidate.value if candidate is not None else key.default
        if name in rooted and isinstance(value, str | os.PathLike) and str(value):
            value = str(found.root / value)
        elif candidate is None:
            continue
        *sections, last = name.split(".")
        at = tree
        for section in sections:
            at = at.setdefault(section, {})
        at[last] = value
    try:
        found.made = cls.model_validate(tree)
    except ValidationError as error:
        return [_named(issue, found) for issue in model.issues_of(error, keys, found.chosen)]
    values = {name: model.value_at(found.made, name) for name in keys.by_name}
    return [*_required(values, found), *_stage_rules(values, found), *_paths(values, found)]


def _named(issue: Issue, found: _Read) -> Issue:
    """Say of a setting that is missing which variable gives it."""
    key = found.declared.keys.by_name.get(issue.key)
    if issue.key in found.chosen or key is None or not key.variables:
        return issue
    name = key.variables[-1]
    hint = f"Set {name} in the environment or in .env, or {issue.key} in a configuration file."
    return Issue(issue.key, f"{name} not set", None, hint)


def _required(values: Mapping[str, Any], found: _Read) -> list[Issue]:
    made = []
    for name, when in found.declared.of(RequiredIf):
        if values.get(when.key) == when.value and values[name] in {None, ""}:
            variable = found.declared.keys.by_name[name].variables[-1]
            text = f"{variable} not set, which is required while {when.key} is {when.value!r}"
            made.append(Issue(name, text, found.chosen[when.key].origin if when.key in found.chosen else DEFAULT))
    return made


def _stage_rules(values: Mapping[str, Any], found: _Read) -> list[Issue]:
    made = []
    stage = values["environment"]
    if values["debug"] and stage == "production":
        made.append(Issue("debug", "debug mode is not allowed in production", _origin(found, "debug")))
    for name, value in values.items():
        if name.rpartition(".")[2] in _OPEN and value is not None and "*" in value and stage != "development":
            text = f"'*' is allowed in development only, and the environment is {stage}"
            made.append(Issue(name, text, _origin(found, name), error=stage == "production"))
    return made


def _paths(values: Mapping[str, Any], found: _Read) -> list[Issue]:
    made = []
    for name, folder in found.declared.of(Folder):
        if values[name] in {None, ""}:
            continue
        path = Path(values[name])
        if not (folder.create and not path.exists()):
            wrong = rules.path_problem(path, "write" if folder.write else "read")
            if wrong:
                made.append(Issue(name, wrong, _origin(found, name), "Make it, or correct the path."))
    for name, _ in found.declared.of(Asset):
        path = Path(values[name] or ".")
        if values[name] and not (path.is_file() and os.access(path, os.R_OK)):
            text = f"{path} is no file that this user can read"
            made.append(Issue(name, text, _origin(found, name), "Put it there, or correct the path."))
    return made


def _origin(found: _Read, name: str) -> Origin:
    return found.chosen[name].origin if name in found.chosen else DEFAULT


def _made(cls: type[S], found: _Read, read: Callable[[], _Read]) -> S:
    """Return the instance, its directories made; raises :class:`ConfigurationError`."""
    if found.made is None:
        error = refusal(found.issues)
        raise ConfigurationError(error.what, why=error.why, hint=error.hint)
    names = found.declared.keys.by_name
    values = {name: model.value_at(found.made, name) for name in names}
    for name, folder in found.declared.of(Folder):
        if folder.create and values[name]:
            _create(name, Path(values[name]))
    made: S = found.made
    origins = {name: one.origin for name, one in found.chosen.items()}
    made._found = _Found(values, origins, found.issues, found.files, read)  # noqa: SLF001 - this module's own class
    assert isinstance(made, cls)  # noqa: S101 - it was validated by it
    return made


def _create(name: str, path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{name}: the directory {path} cannot be made",
            why=f"{error.strerror} (errno {error.errno}).",
            hint="Make it writable for this user, or correct the path.",
        ) from error


def _follow(settings: Settings) -> None:
    """Have the settings reloaded when the agent says so, for as long as somebody has them."""
    kept = weakref.ref(settings)

    def reload() -> None:
        found = kept()
        if found is None:
            reloads.remove(reload)
        else:
            found.reload()

    reloads.add(reload)


def _stage(word: object) -> object:
    from roadworthy.config.keys import PLACES

    return PLACES.get(word, word) if isinstance(word, str) else word


def _secrets(environ: Mapping[str, str] | None, folder: Path) -> SecretOf:
    """Return what looks secrets up: in the store that the given environment chooses, else in this process's own."""
    from roadworthy.config import secrets

    if environ is None:
        return secrets.secret_of
    opened: list[secrets.Backend] = []

    def secret_of(name: str) -> Secret | None:
        if not opened:
            opened.append(secrets.open_backend(environ, folder=folder))
        return opened[0].find(name)

    return secret_of


# -- one configuration a process

_lock = threading.Lock()
_central: Settings | None = None


def initialize_config(path: str | os.PathLike[str] | None = None, schema: type[Settings] | None = None) -> Settings:
    """Load the process-wide configuration and return it; :func:`get_config` then returns that very object.

    Called again, with the same ``schema`` or none, it reads everything anew into the same object. Raises
    :class:`ConfigurationError`; what was in force before stays so then.
    """
    global _central  # noqa: PLW0603 - one configuration a process
    with _lock:
        if _central is None or (schema is not None and type(_central) is not schema):
            _central = (schema or Settings).load(path)
        else:
            fresh = type(_central).load(path)
            _central._found.read = fresh._found.read  # noqa: SLF001 - this module's own class
            _central.reload()
        return _central


def get_config() -> Settings:
    """Return the process-wide configuration; it is loaded by the first call when nobody has done so."""
    return _central if _central is not None else initialize_config()
