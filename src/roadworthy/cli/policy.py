"""``roadworthy policy``: what the policies of a program do, and holding or resetting their breakers."""

from __future__ import annotations

import click

from roadworthy.cli.acting import act, app_option, duration, for_option, json_option, reason_option, shown


@click.group(invoke_without_command=True)
@app_option
@json_option
@click.pass_context
def policy(context: click.Context, app: str | None, *, as_json: bool) -> int:
    """Tell what the policies do: calls, failures, retries, breakers. Without a verb: list."""
    return _list(app, as_json=as_json) if context.invoked_subcommand is None else 0


@policy.command("list")
@app_option
@json_option
def list_(app: str | None, *, as_json: bool) -> int:
    """List policies, those whose breaker is not closed first."""
    return _list(app, as_json=as_json)


def _list(app: str | None, *, as_json: bool) -> int:
    from roadworthy.view.terminal import resilience

    empty = "the program has told of no policy yet"
    return shown(
        app, "policies", lambda seen, style, now: resilience.policies(seen.policies, style, now), empty, as_json=as_json
    )


@policy.command()
@click.argument("name")
@click.argument("state", metavar="forced_open|disabled|metrics_only")
@for_option
@reason_option
@app_option
@json_option
def force(name: str, state: str, for_: str | None, reason: str, app: str | None, *, as_json: bool) -> int:
    """Hold the breaker of policy NAME in a state: refuse every call, let every call pass, or pass and only count."""
    path, query = "/api/policies/{name}/force", {"state": state, "for": duration(for_), "reason": reason}
    return act(app, "POST", path, {"name": name}, query, as_json=as_json)


@policy.command()
@click.argument("name")
@reason_option
@app_option
@json_option
def reset(name: str, reason: str, app: str | None, *, as_json: bool) -> int:
    """End what was forced on policy NAME, and close its breaker."""
    return act(app, "POST", "/api/policies/{name}/reset", {"name": name}, {"reason": reason}, as_json=as_json)
