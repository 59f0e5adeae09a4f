"""``roadworthy config``: which settings are in force, why, what is wrong with them; and changing them while it runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from roadworthy.cli.acting import PATIENCE, duration, for_option, reason_option
from roadworthy.cli.settings import working_directory
from roadworthy.errors import (
    EXIT_CONFIGURATION,
    EXIT_OK,
    FULL,
    ConfigurationError,
    Exhausted,
    NotFound,
    RoadworthyError,
    Unavailable,
    UsageError,
)

if TYPE_CHECKING:
    from roadworthy.config.load import Loaded

ENV_EXAMPLE: Final = ".env.example"

json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.group()
def config() -> None:
    """Show, explain, check and write the settings of the program in this folder; change them while it runs."""


@config.command()
@click.argument("name", required=False)
@click.option("--origin", is_flag=True, help="Where each value comes from.")
@json_option
def show(name: str | None, *, origin: bool, as_json: bool) -> int:
    """Show every setting that is in force in this folder; with NAME, in that running program.

    Ends with 3 when the configuration cannot be used.
    """
    if name is not None:
        from roadworthy.cli.running import find
        from roadworthy.cli.socket import ask

        answer = ask(find(name).places.run / "agent.sock", {"do": "config-show"})
        rows, files = list(answer["settings"]), list(answer["files"])
    else:
        loaded = _loaded().require()
        rows, files = loaded.rows(), list(loaded.files)
    if as_json:
        _json({"files": files, "settings": rows})
        return EXIT_OK
    width = max((len(row["key"]) for row in rows), default=0)
    for row in rows:
        value = json.dumps(row["value"], ensure_ascii=False) if row["value"] is not None else "(none)"
        told = f"  # {row['origin']}" if origin else ""
        note = "  (no effect yet)" if row["unused"] and row["source"] != "default" else ""
        click.echo(f"{row['key']:<{width}}  {value}{told}{note}")
    _where_from(files)
    return EXIT_OK


@config.command()
@click.argument("key")
@json_option
def why(key: str, *, as_json: bool) -> int:
    """Tell where the value of KEY comes from, which sources it outranks, and which others there are."""
    from roadworthy.config.load import plain
    from roadworthy.config.origin import nearest, shown

    loaded = _loaded().require()
    name = loaded.keys.canonical(key)
    if name is None:
        like = nearest(key, loaded.keys.known())
        hint = f"Did you mean {like}?" if like else "roadworthy config show lists all of them."
        raise NotFound(f"there is no setting {key[:80]!r}", hint=hint)
    about, one = loaded.keys.by_name[name], loaded.values[name]
    ranked = [(plain(one.value), one.origin)]
    ranked += [(plain(lower.value), lower.origin) for lower in one.outranked]
    if one.origin.source != "default":
        ranked.append((about.default, _default()))
    rows = [{"value": shown(value, secret=about.secret), "origin": origin.where} for value, origin in ranked]
    if as_json:
        told = {"key": name, "doc": about.doc, "live": about.live, "unused": about.unused, "secret": about.secret}
        _json({**told, "variables": list(about.variables), "option": about.flag or None, "sources": rows})
        return EXIT_OK
    click.echo(about.doc)
    for number, row in enumerate(rows):
        value = json.dumps(row["value"], ensure_ascii=False) if row["value"] is not None else "(none)"
        click.echo(f"{'=' if number == 0 else ' '} {name} = {value}  # {row['origin']}")
    option = f"; option: {about.flag}" if about.flag else f"; option: --set {name}=VALUE"
    for issue in loaded.warnings:
        if issue.key == name:
            click.echo(f"warning: {issue}")
    click.echo(f"Variables: {', '.join(about.variables)}{option}.")
    click.echo("A running program takes a change at once." if about.live else "A change needs a restart.")
    if about.unused:
        click.echo("It is checked and shown; this version does nothing with it yet.")
    return EXIT_OK


@config.command()
@json_option
def check(*, as_json: bool) -> int:
    """Check everything and list all that is wrong; ends with 3 when that refuses the configuration."""
    loaded = _loaded()
    if as_json:
        _json({"ok": not loaded.errors, "issues": [issue.plain() for issue in loaded.issues]})
    else:
        for issue in (*loaded.errors, *loaded.warnings):
            hint = f"  {issue.hint}" if issue.hint else ""
            click.echo(f"{'error' if issue.error else 'warning'}: {issue}{hint}")
        if not loaded.errors:
            click.echo("The configuration can be used.")
            _where_from(loaded.files)
    return EXIT_CONFIGURATION if loaded.errors else EXIT_OK


@config.command()
def init() -> int:
    """Write roadworthy.toml and .env.example into this folder; nothing that is there is overwritten."""
    from roadworthy.config.example import env_example, toml_example
    from roadworthy.config.load import TOML
    from roadworthy.config.reference import reference

    folder = Path(working_directory())
    wanted = {folder / TOML: toml_example(), folder / ENV_EXAMPLE: env_example(reference())}
    there = [path.name for path in wanted if os.path.lexists(path)]
    if there:
        raise Unavailable(
            f"{' and '.join(there)} {'is' if len(there) == 1 else 'are'} there already",
            why="What is there is not overwritten, and nothing was written.",
            hint="Move it away first.",
        )
    written: list[Path] = []
    try:
        for path, text in wanted.items():
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        kind = Exhausted if error.errno in FULL else Unavailable
        raise kind(
            f"{error.filename or folder} cannot be written",
            why=f"{error.strerror} (errno {error.errno}).",
            hint="Nothing was left there.",
        ) from error
    click.echo(f"Written: {', '.join(path.name for path in wanted)}")
    return EXIT_OK


@config.command()
@click.argument("name", required=False)
@reason_option
@json_option
def reload(name: str | None, reason: str, *, as_json: bool) -> int:
    """Have a running program take over what the sources say now: all of it, or, when something is wrong, nothing.

    What cannot change while it runs is named. The program's own settings are read anew, too.
    """
    return _act(name, {"do": "config-reload", "reason": reason}, as_json=as_json)


@config.command("set")
@click.argument("key")
@click.argument("value")
@click.argument("name", required=False)
@for_option
@reason_option
@json_option
def set_(key: str, value: str, name: str | None, for_: str | None, reason: str, *, as_json: bool) -> int:
    """Set KEY of a running program to VALUE, until it ends or is taken back; with --for, only for that long."""
    asked = {"do": "config-set", "key": key, "value": value, "for": duration(for_), "reason": reason}
    return _act(name, asked, as_json=as_json)


@config.command()
@click.argument("key")
@click.argument("name", required=False)
@reason_option
@json_option
def unset(key: str, name: str | None, reason: str, *, as_json: bool) -> int:
    """Take back what was set by hand: KEY is again what the sources say."""
    return _act(name, {"do": "config-unset", "key": key, "reason": reason}, as_json=as_json)


def _act(name: str | None, asked: dict[str, Any], *, as_json: bool) -> int:
    from roadworthy.cli.running import find
    from roadworthy.cli.socket import ask
    from roadworthy.view.client import user

    answer = ask(find(name).places.run / "agent.sock", {**asked, "actor": f"command line, {user()}"}, PATIENCE)
    if not answer.get("ok"):
        kind = _KINDS.get(str(answer.get("kind")), Unavailable)
        raise kind(str(answer.get("what")), why=str(answer.get("why", "")), hint=str(answer.get("hint", "")))
    if as_json:
        _json({key: value for key, value in answer.items() if key != "ok"})
        return EXIT_OK
    click.echo(answer["what"])
    for warning in answer.get("warnings", ()):
        print(f"roadworthy: {warning}", file=sys.stderr)
    if not answer.get("audited", True):
        print("roadworthy: the audit trail could not be written: see roadworthy status", file=sys.stderr)
    return EXIT_OK


_KINDS: Final[dict[str, type[RoadworthyError]]] = {
    kind.__name__: kind for kind in (ConfigurationError, NotFound, UsageError)
}


def _loaded() -> Loaded:
    from roadworthy.cli.configured import configuration

    return configuration(Path(working_directory()))


def _default() -> Any:  # noqa: ANN401 - an Origin, imported where it is needed
    from roadworthy.config.origin import DEFAULT

    return DEFAULT


def _where_from(files: Sequence[str]) -> None:
    """Say which files were read, or that there is none and the defaults count."""
    said = f"Read: {', '.join(files)}." if files else "No configuration file is here: defaults count."
    print(said, file=sys.stderr)


def _json(document: object) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, indent=1))
