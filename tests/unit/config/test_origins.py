"""Must show 1: for every setting and every pair of sources, the higher one counts and its origin is told exactly."""

from __future__ import annotations

import itertools
import json

import pytest

from roadworthy.config.keys import STAGES
from roadworthy.config.layers import Layer
from roadworthy.config.load import load
from roadworthy.config.origin import Candidate, Origin
from roadworthy.config.reference import reference
from roadworthy.types import Secret

KEYS = reference().by_name
HIGH = {"monitoring.thresholds.cpu_percent.critical": (90.0, 95.0), "restart.backoff_most": (40.0, 50.0),
        "monitoring.thresholds.memory_mb.critical": (2000.0, 3000.0)}  # fmt: skip
LOW = {"restart.backoff_first": (0.2, 0.3), "assets.path": ("one", "two"), "name": ("one", "two")}


def two_values(key):
    """Return two valid values of a key that are neither each other nor the default."""
    if key.name in HIGH or key.name in LOW:
        return {**HIGH, **LOW}[key.name]
    made = {
        "text": ("one", "two"), "path": ("one", "two"), "integer": (3, 4), "number": (0.25, 0.5),
        "duration": (3.0, 4.0),
        "milliseconds": (2000, 3000), "list": (["one"], ["two"]), "paths": (["one"], ["two"]),
        "table": ({"one": "env://A"}, {"two": "env://B"}), "boolean": (not key.default, bool(key.default)),
        "rules": ([{"name": "a", "condition": "b > 1"}], [{"name": "c", "condition": "d > 1"}]),
    }  # fmt: skip
    if key.kind in {"choice", "stage"}:
        one, two, *_ = (choice for choice in key.choices if choice not in {key.default, "production"})
        return one, two
    one, two = made[key.kind]
    if key.least is not None and key.kind == "number" and key.least > 0.25:
        one, two = key.least + 2, key.least + 3
    return one, two


def text(value):
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


def toml(value):
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)


class Sources:
    """Writes a value of a key into one source after the other."""

    def __init__(self, root, key):
        self.root, self.key = root, key
        self.environ, self.profile, self.secrets = {}, {}, {}
        self.layers = {"set": Layer("set"), "flag": Layer("flag")}
        for name in ("one", "two"):
            (root / name).mkdir(exist_ok=True)

    def set(self, value):
        self.layers["set"].entries[self.key.name] = Candidate(value, Origin("set", "set by hand"))
        return "set by hand"

    def flag(self, value):
        self.layers["flag"].entries[self.key.name] = Candidate(value, Origin("flag", "--option"))
        return "--option"

    def variable(self, value):
        name = self.key.variables[0]
        self.environ[name] = f"{value / 1000}s" if name in self.key.durations else text(value)
        return f"environment variable {name}"

    def dotenv(self, value):
        name = self.key.variables[-1]
        (self.root / ".env").write_text(f"\n# a comment\nexport {name}='{text(value)}'\n")
        return f".env:3 ({name})"

    def secret(self, value):
        self.secrets[self.key.variables[0]] = Secret(value)
        return f"secret {self.key.variables[0]}"

    def toml(self, value):
        section, _, last = self.key.name.rpartition(".")
        head = f"[{section}]\n" if section else "\n"
        (self.root / "roadworthy.toml").write_text(f"# a comment\n{head}{last} = {toml(value)}\n")
        return "roadworthy.toml:3"

    def pyproject(self, value):
        (self.root / "pyproject.toml").write_text(
            f"[tool.other]\nx = '''\na\n'''\n[tool.roadworthy]\n{self.key.name} = {toml(value)}\n"
        )
        return "pyproject.toml:6"

    def nested(self, value, name):
        for part in reversed(name.split(".")):
            value = {part: value}
        return json.dumps(value, indent=1)

    def stage(self, value):
        # The stage is development wherever it does not matter; its file is there for all of them.
        (self.root / "config").mkdir(exist_ok=True)
        for stage in STAGES:
            (self.root / "config" / f"{stage}.json").write_text(self.nested(value, self.key.name))
        where = f"config/{{}}.json:{self.key.name.count('.') + 2}"
        return where.format("development")

    def monitoring(self, value):
        (self.root / "config").mkdir(exist_ok=True)
        name = self.key.also[0] if self.key.also else self.key.name
        (self.root / "config" / "monitoring_config.json").write_text(self.nested(value, name))
        return f"config/monitoring_config.json:{name.count('.') + 2}"

    def profiled(self, value):
        self.profile[self.key.variables[-1]] = text(value)
        return f"profile test ({self.key.variables[-1]})"

    def default(self, _value):
        return "default"

    def ranked(self):
        """Return those that may have this key, the highest first."""
        found = [self.set, self.flag, self.variable, self.dotenv]
        if self.key.secret:
            found.append(self.secret)
        found += [self.toml, self.pyproject]
        if self.key.name != "environment":
            found.append(self.stage)
        if self.key.name.startswith("monitoring.") or self.key.also:
            found.append(self.monitoring)
        if not self.key.advice and self.key.name != "environment":
            found.append(self.profiled)
        return [*found, self.default]

    def loaded(self):
        return load(
            self.root, self.environ, self.layers["flag"], changes=self.layers["set"], secret_of=self.secrets.get,
            profile_of=lambda _named, _environ: ("test", self.profile),
        )  # fmt: skip


def pairs(key, root):
    names = [function.__name__ for function in Sources(root, key).ranked()]
    return itertools.combinations(names, 2)


@pytest.mark.parametrize("name", sorted(KEYS))
def test_of_two_sources_of_a_setting_the_higher_counts_and_both_are_named(name, tmp_path):
    key = KEYS[name]
    one, two = two_values(key)
    for number, (higher, lower) in enumerate(pairs(key, tmp_path)):
        root = tmp_path / str(number)
        root.mkdir()
        sources = Sources(root, key)
        below = getattr(sources, lower)(two)
        origin = getattr(sources, higher)(one)
        found = sources.loaded().require().values[name]
        assert (str(found.origin), found.origin.where) == (origin, origin), (higher, lower)
        assert found.value == pytest.approx(one) if isinstance(one, float) else True
        told = [candidate.origin.where for candidate in found.outranked]
        assert told == ([] if lower == "default" else [below]), (higher, lower)


def test_every_setting_has_a_description_a_variable_and_a_default_that_fits(tmp_path):
    loaded = load(tmp_path, {}).require()
    for name, key in KEYS.items():
        assert key.doc.endswith("."), name
        assert key.variables, name
        assert loaded.values[name].origin.source == "default"
    assert len({variable for key in KEYS.values() for variable in key.variables}) == sum(
        len(key.variables) for key in KEYS.values()
    ), "no variable means two settings"
