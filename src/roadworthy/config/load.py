"""Finds, ranks and checks roadworthy's own settings; every value keeps where it came from.

The first source that has a key counts (CONFLICTS C-19): what was set while running, options, the process environment,
``.env``, the secrets backend (secret keys only), ``roadworthy.toml``, ``[tool.roadworthy]`` of ``pyproject.toml``,
``config/<stage>.json``, ``config/monitoring_config.json``, what another setting implies (``dev``, ``debug``), the
profile of the environment, the defaults. All that is wrong is told at once, and nothing is used then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from roadworthy.config import layers, model, rules
from roadworthy.config.keys import PLACES, STAGES, Keys
from roadworthy.config.layers import Layer
from roadworthy.config.origin import DEFAULT, Candidate, Issue, Origin, refusal, shown
from roadworthy.config.reference import reference

if TYPE_CHECKING:
    from roadworthy.types import Secret

TOML: Final = "roadworthy.toml"
VARIABLE: Final = "ROADWORTHY_CONFIG"
MONITORING: Final = ("monitoring", "alerts")

Profile = Callable[[str | None, Mapping[str, str]], tuple[str, Mapping[str, str]]]
"""Gives the name and the values (by variable) of a profile; it is told which environment was named by hand, if any."""


@dataclass(frozen=True, slots=True)
class Value:
    """A setting in force: its value, where it came from, and the sources that were outranked, highest first."""

    value: Any
    origin: Origin
    outranked: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration: all values by key, everything that is wrong, and which files were there.

    While there is an error, ``values`` are empty: nothing of it may be used.
    """

    keys: Keys
    root: Path
    values: Mapping[str, Value] = field(default_factory=dict)
    issues: tuple[Issue, ...] = ()
    files: tuple[str, ...] = ()
    profile: str = ""

    @property
    def errors(self) -> tuple[Issue, ...]:
        """Return the issues that refuse the configuration."""
        return tuple(issue for issue in self.issues if issue.error)

    @property
    def warnings(self) -> tuple[Issue, ...]:
        """Return the issues that are only told."""
        return tuple(issue for issue in self.issues if not issue.error)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - what the key's kind makes it
        return self.values[name].value

    def require(self) -> Loaded:
        """Return the configuration itself; raises :class:`UsageError` or :class:`ConfigurationError` for its errors."""
        if self.errors:
            raise refusal(self.issues)
        return self

    def rows(self) -> list[dict[str, Any]]:
        """Return every setting as JSON knows it, secrets redacted."""
        made = []
        for name, one in self.values.items():
            key = self.keys.by_name[name]
            row = {"key": name, "value": shown(plain(one.value), secret=key.secret), "source": one.origin.source}
            made.append({**row, "origin": one.origin.where, "live": key.live, "unused": key.unused})
        return made


def plain(value: object) -> Any:  # noqa: ANN401 - JSON
    """Return a value as JSON knows it."""
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    dump = getattr(value, "model_dump", None)
    return dump() if dump is not None else value


def no_profile(_named: str | None, _environ: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """Return no profile: for tests, and where nothing is detected."""
    return "none", {}


def load(
    root: Path,
    environ: Mapping[str, str],
    options: Layer | None = None,
    *,
    changes: Layer | None = None,
    secret_of: Callable[[str], Secret | None] | None = None,
    profile_of: Profile = no_profile,
) -> Loaded:
    """Return the configuration of the application in ``root``; what is wrong is in its ``issues``. Never raises.

    ``options`` come from the command line, ``changes`` are what was set while running.
    """
    keys = reference()
    named = environ.get(VARIABLE, "")
    toml = Path(root, named or TOML)
    base = toml.parent if named else root
    found = [
        changes or Layer("set"),
        options or Layer("flag"),
        layers.of_environment(keys, environ),
        layers.of_dotenv(keys, base / ".env", shown=".env"),
        layers.of_secrets(keys, secret_of),
        layers.of_toml(keys, toml, shown=named or TOML),
        layers.of_toml(keys, base / "pyproject.toml", shown="pyproject.toml", below=("tool", "roadworthy")),
    ]
    below = layers.of_json(
        keys, base / "config" / "monitoring_config.json", shown="config/monitoring_config.json", only=MONITORING
    )
    missing = [] if not named or toml.exists() else [_missing(named)]
    by_hand = first([*found, below], "environment")
    word = str(by_hand.value).strip().lower() if by_hand is not None else None
    found += [stage_file(keys, base, word, found), below]
    meant = implied(found)
    stage = stage_of(word, meant)
    label, profiled = profile_of(word, environ)
    found += [meant, safe(layers.of_profile(keys, label, profiled, chosen=asked(by_hand)), stage)]
    return _resolved(keys, base, found, label, missing)


def asked(by_hand: Candidate | None) -> bool:
    """Return whether somebody chose the environment for us; the plain ``ENV`` may be there for the program alone."""
    return by_hand is not None and not by_hand.origin.where.endswith((" ENV", "(ENV)"))


def _missing(named: str) -> Issue:
    text = f"{named} is not there; the settings come from elsewhere"
    return Issue("", text, Origin("environment", f"environment variable {VARIABLE}"), error=False)


def first(found: Iterable[Layer], name: str) -> Candidate | None:
    """Return what the highest of these layers has for a key."""
    return next((layer.entries[name] for layer in found if name in layer.entries), None)


def stage_of(word: str | None, meant: Layer) -> str:
    """Return the stage that a word names, or another setting means; the first one where nothing does."""
    if word is not None:
        return PLACES.get(word, word)
    candidate = meant.entries.get("environment")
    return str(candidate.value) if candidate is not None else STAGES[0]


def stage_file(keys: Keys, root: Path, word: str | None, found: Sequence[Layer]) -> Layer:
    """Return the layer of the stage's own file; what it says of the stage itself must be the stage."""
    stage = stage_of(word, implied(found))
    if stage not in STAGES:
        return Layer("json")  # the schema says what is wrong with it
    shown_as = f"config/{stage}.json"
    layer = layers.of_json(keys, root / "config" / f"{stage}.json", shown=shown_as)
    said = layer.entries.pop("environment", None)
    if said is not None and PLACES.get(str(said.value), said.value) != stage:
        text = f"{said.value!r} contradicts the name of the file, which is read in stage {stage}"
        layer.issues.append(Issue("environment", text, said.origin))
    return layer


def implied(found: Sequence[Layer]) -> Layer:
    """Return what ``dev`` and ``debug`` mean for other settings (CONFLICTS C-69)."""
    layer = Layer("default")
    dev, debug = first(found, "dev"), first(found, "debug")
    if dev is not None and _true(dev.value):
        for name, value in (("environment", "development"), ("debug", True), ("log.format_json", False)):
            layer.entries[name] = Candidate(value, Origin(dev.origin.source, f"dev, {dev.origin.where}"))
    cause = debug if debug is not None else layer.entries.get("debug")
    if cause is not None and _true(cause.value):
        by = "debug, " if cause is debug else ""
        layer.entries["log_level"] = Candidate("debug", Origin(cause.origin.source, by + cause.origin.where))
    return layer


def _true(value: object) -> bool:
    return value is True or str(value).strip().lower() in {"1", "true", "t", "yes", "y", "on"}


def safe(layer: Layer, stage: str) -> Layer:
    """Return a profile's layer without what only development allows: a profile opens nothing in another stage."""
    if stage != "development":
        for name in ("debug", *rules.OPEN):
            candidate = layer.entries.get(name)
            if candidate is not None and (_true(candidate.value) or "*" in str(candidate.value)):
                del layer.entries[name]
    if _true(getattr(layer.entries.get("debug"), "value", False)):
        cause = layer.entries["debug"].origin
        layer.entries.setdefault("log_level", Candidate("debug", Origin("profile", f"debug, {cause.where}")))
    return layer


def _resolved(keys: Keys, root: Path, found: Sequence[Layer], label: str, issues: list[Issue]) -> Loaded:
    ranked = {name: [layer.entries[name] for layer in found if name in layer.entries] for name in keys.by_name}
    chosen = {name: candidates[0] for name, candidates in ranked.items() if candidates}
    values, wrong = model.checked(chosen)
    refused = {issue.key for issue in wrong}
    if wrong:  # what is right is looked at too, so that all issues are told at once
        values, _ = model.checked({name: one for name, one in chosen.items() if name not in refused})
    issues = [*issues, *(issue for layer in found for issue in layer.issues), *wrong]
    made: dict[str, Value] = {}
    if values:
        for name, candidates in ranked.items():
            if candidates:
                made[name] = Value(values[name], candidates[0].origin, tuple(candidates[1:]))
            else:
                made[name] = Value(values[name], DEFAULT)
        origins = {name: one.origin for name, one in made.items()}
        found_out = [*rules.contradictions(values, origins), *rules.paths(keys, values, origins, root)]
        issues += [issue for issue in found_out if issue.key not in refused]
    if any(issue.error for issue in issues):
        made = {}
    files = tuple(dict.fromkeys(layer.found for layer in found if layer.found))
    return Loaded(keys, root, made, tuple(issues), files, label)
