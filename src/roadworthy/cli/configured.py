"""From the configuration of a folder to what ``roadworthy run`` hands on: options on top, all of it checked."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from click.core import ParameterSource

from roadworthy.cli import settings as checks
from roadworthy.cli.errors import warn
from roadworthy.config.layers import Layer, from_text
from roadworthy.config.load import Loaded, load
from roadworthy.config.origin import Candidate, Issue, Origin
from roadworthy.config.places import check_name
from roadworthy.config.reference import reference
from roadworthy.config.values import HangPolicy, RestartPolicy, RunSettings, Thresholds
from roadworthy.errors import RoadworthyError, UsageError

if TYPE_CHECKING:
    import click

    from roadworthy.config.keys import Key
    from roadworthy.types import Secret

MONITORING: Final = "monitoring"

_CHECKED: Final[Mapping[str, Callable[[Any, str], object]]] = {
    "stop_signal": lambda value, _label: checks.stop_signal(value),
    "health.url": lambda value, _label: checks.health_url(value),
    "history.url": lambda value, _label: checks.history_url(value),
    "ops.probe_bind": lambda value, label: value and checks.address(value, label),
    "ops.allowed_hosts": lambda value, _label: [checks.allowed_host(one) for one in value],
    "health.checks": lambda value, _label: [checks.check_setting(f"{name}={target}") for name, target in value.items()],
    "name": lambda value, label: value and check_name(value, label),
}
"""What the schema cannot tell of a value, because it is the command line's knowledge."""


def options(context: click.Context) -> Layer:
    """Return the options that were really given, as the highest layer.

    Raises :class:`UsageError` for a value of an option that is wrong by itself.
    """
    layer = Layer("flag")
    keys = {key.flag: key for key in reference().by_name.values() if key.flag}
    for param in context.command.params:
        if context.get_parameter_source(param.name or "") is not ParameterSource.COMMANDLINE:
            continue
        key = next((keys[one] for one in param.opts if one in keys), None)
        if key is not None:
            flag = key.flag if key.name != "inject" or context.params["inject"] else "--no-inject"
            value = _given(key, context.params[param.name or ""])
            layer.entries[key.name] = Candidate(value, Origin("flag", flag))
    for text in context.params.get("set_", ()):
        _set(layer, text)
    return layer


def _set(layer: Layer, text: str) -> None:
    name, separator, value = text.partition("=")
    canonical = reference().canonical(name)
    if not separator or canonical is None:
        from roadworthy.config.origin import nearest

        like = nearest(name, reference().known())
        raise UsageError(
            f"--set: {name!r} is no setting" if separator else f"--set: {name!r} has no value",
            why="It is KEY=VALUE, the key with dots: --set monitoring.retention_hours=24",
            hint=f"Did you mean {like}?" if like and separator else "roadworthy config show lists all of them.",
        )
    try:
        made = from_text(reference().by_name[canonical].kind, value)
    except ValueError as error:
        raise UsageError(f"--set {name}: is no JSON: {error}", hint="Lists may be parted by commas.") from error
    layer.entries[canonical] = Candidate(made, Origin("flag", f"--set {name}"))


def _given(key: Key, value: Any) -> Any:  # noqa: ANN401 - click's
    """Return an option's value as the schema takes it; durations are checked here, so that the option is named."""
    if key.kind == "duration":
        return checks.seconds(value, key.flag)
    if key.name == "monitoring.health_check_interval_ms":
        return checks.check_interval(value) * 1000
    if key.name == "monitoring.retention_hours":
        return checks.hours(value, key.flag)
    if key.kind == "table":
        made = [checks.check_setting(text) for text in value]
        return {one.name: one.target for one in made}
    if key.name in _CHECKED:
        _CHECKED[key.name](value, key.flag)
    return list(value) if isinstance(value, tuple) else value


def configuration(root: Path, layer: Layer | None = None, *, changes: Layer | None = None) -> Loaded:
    """Return the configuration of a folder, checked as far as the command line can; issues are in it."""
    loaded = load(
        root, dict(os.environ), layer, changes=changes, secret_of=secret_source(), profile_of=profile_source()
    )
    if loaded.errors:
        return loaded
    issues = list(loaded.issues)
    for name, check in _CHECKED.items():
        one = loaded.values[name]
        if one.origin.source not in {"default", "flag"} and one.value:
            key = loaded.keys.by_name[name]
            try:
                check(one.value, name)
            except RoadworthyError as error:
                text = error.what.removeprefix(key.flag).removeprefix(name).lstrip(": ")
                issues.append(Issue(name, f"{text} {error.why}".strip(), one.origin, error.hint))
    failed = any(issue.error for issue in issues)
    return replace(loaded, issues=tuple(issues), values={} if failed else loaded.values)


def secret_source() -> Callable[[str], Secret | None] | None:
    """Return what looks secrets up; None unless ``SECRETS_BACKEND`` names a store.

    A store that only the program is meant to ask (its address is in the environment) must not keep it from starting.
    """
    if not os.environ.get("SECRETS_BACKEND") or importlib.util.find_spec("roadworthy.config.secrets") is None:
        return None
    found: Callable[[str], Secret | None] | None = getattr(
        importlib.import_module("roadworthy.config.secrets"), "secret_of", None
    )
    return found


def profile_source() -> Callable[[str | None, Mapping[str, str]], tuple[str, Mapping[str, str]]]:
    """Return what gives the environment's profile; nothing where nothing is detected."""
    from roadworthy.config.profiles import profile

    return profile


def told(loaded: Loaded) -> None:
    """Print the warnings of a configuration, each on a line of standard error.

    Sections of a JSON file that are the application's own are told by ``config check`` alone.
    """
    for issue in loaded.warnings:
        if issue.origin is not None and issue.origin.source == "json" and not issue.hint:
            continue
        warn(f"{issue}. {issue.hint}".rstrip(". ") if issue.hint else str(issue))


def run_settings(loaded: Loaded, command: tuple[str, ...]) -> RunSettings:
    """Return what keeper and agent are handed; the configuration has no errors."""
    at = loaded.__getitem__
    every = at("monitoring.health_check_interval_ms") / 1000
    on = at("monitoring.enabled")
    port = at("ops.port")
    cwd = str(loaded.root)
    return RunSettings(
        app="",
        command=command,
        cwd=cwd,
        environment=at("environment"),
        workers=at("workers"),
        port=at("port"),
        bind=at("bind"),
        ops_port=9900 if port is None else port,
        ops_port_given=port is not None,
        ops_host=at("ops.host"),
        allowed_hosts=tuple(at("ops.allowed_hosts")),
        probe_bind=at("ops.probe_bind"),
        inject=at("inject"),
        dev=at("dev"),
        watch_paths=(cwd,) if at("dev") else (),
        log_level=at("log_level"),
        stop_signal=checks.stop_signal(at("stop_signal")),
        stop_grace=at("grace"),
        ready_timeout=at("ready_timeout"),
        health_url=at("health.url"),
        health_check=at("health.check_start"),
        restart=RestartPolicy(**_section(loaded, "restart")),
        hang=HangPolicy(**_section(loaded, "hang")),
        thresholds=Thresholds(
            cpu_warning=at("monitoring.thresholds.cpu_percent.warning"),
            cpu_critical=at("monitoring.thresholds.cpu_percent.critical"),
            memory_warning=at("monitoring.thresholds.memory_mb.warning"),
            memory_critical=at("monitoring.thresholds.memory_mb.critical"),
            on=on and at("monitoring.features.health"),
        ),
        checks=tuple(checks.check_setting(f"{name}={target}", every) for name, target in at("health.checks").items()),
        check_every=every,
        checks_on=at("health.enabled"),
        data_dirs=tuple(str(Path(cwd, text)) for text in at("required_dirs")),
        sample_performance=at("monitoring.sampling.performance_sample_rate") if _feature(loaded, "metrics") else 0.0,
        sample_errors=at("monitoring.sampling.error_sample_rate") if _feature(loaded, "errors") else 0.0,
        report_every=at("report.every"),
        retention_hours=at("monitoring.retention_hours"),
        history_url=at("history.url"),
        pid_file=str(Path(cwd, at("pid_file"))) if at("pid_file") else "",
        daemon=at("daemon"),
    )


def _feature(loaded: Loaded, name: str) -> bool:
    return bool(loaded["monitoring.enabled"] and loaded[f"monitoring.features.{name}"])


def _section(loaded: Loaded, name: str) -> dict[str, Any]:
    begin = f"{name}."
    return {key.removeprefix(begin): one.value for key, one in loaded.values.items() if key.startswith(begin)}


def recorded(loaded: Loaded, layer: Layer) -> str:
    """Return what is kept in the run directory: what came from options, so that a reload has it, and all origins."""
    given = {name: [one.value, one.origin.where] for name, one in layer.entries.items()}
    made = {"schema": 1, "root": str(loaded.root), "options": given, "files": loaded.files, "rows": loaded.rows()}
    return json.dumps(made, indent=1)
