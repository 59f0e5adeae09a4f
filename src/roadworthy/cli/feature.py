"""``roadworthy feature``: which features of a program are off and why, and switching them."""

from __future__ import annotations

import click

from roadworthy.cli.acting import act, app_option, duration, for_option, json_option, reason_option, shown

_OFF = "/api/features/{name}/off"


@click.group(invoke_without_command=True)
@app_option
@json_option
@click.pass_context
def feature(context: click.Context, app: str | None, *, as_json: bool) -> int:
    """Tell which features of the program are off, and why. Without a verb: list."""
    return _list(app, as_json=as_json) if context.invoked_subcommand is None else 0


@feature.command("list")
@app_option
@json_option
def list_(app: str | None, *, as_json: bool) -> int:
    """List features, those that are off first."""
    return _list(app, as_json=as_json)


def _list(app: str | None, *, as_json: bool) -> int:
    from roadworthy.view.terminal import resilience

    empty = "the program has told of no feature yet"
    return shown(
        app, "features", lambda seen, style, now: resilience.features(seen.features, style, now), empty, as_json=as_json
    )


@feature.command()
@click.argument("name")
@for_option
@reason_option
@app_option
@json_option
def off(name: str, for_: str | None, reason: str, app: str | None, *, as_json: bool) -> int:
    """Switch feature NAME off."""
    return act(app, "POST", _OFF, {"name": name}, {"for": duration(for_), "reason": reason}, as_json=as_json)


@feature.command()
@click.argument("name")
@reason_option
@app_option
@json_option
def on(name: str, reason: str, app: str | None, *, as_json: bool) -> int:
    """Switch feature NAME on again, whoever switched it off."""
    return act(app, "DELETE", _OFF, {"name": name}, {"reason": reason}, as_json=as_json)
