"""``roadworthy service``: how the services that a program depends on are, recovering, restarting and degrading them."""

from __future__ import annotations

import click

from roadworthy.cli.acting import act, app_option, duration, for_option, json_option, reason_option, shown

_ERRORS = "/api/performance/errors/services/{name}"


@click.group(invoke_without_command=True)
@app_option
@json_option
@click.pass_context
def service(context: click.Context, app: str | None, *, as_json: bool) -> int:
    """Tell how the services are that the program registered for recovery. Without a verb: list."""
    return _list(app, as_json=as_json) if context.invoked_subcommand is None else 0


@service.command("list")
@app_option
@json_option
def list_(app: str | None, *, as_json: bool) -> int:
    """List services, those in trouble first."""
    return _list(app, as_json=as_json)


def _list(app: str | None, *, as_json: bool) -> int:
    from roadworthy.view.terminal import resilience

    empty = "the program has registered no service for recovery yet"
    return shown(
        app, "services", lambda seen, style, now: resilience.services(seen.services, style, now), empty, as_json=as_json
    )


@service.command()
@click.argument("name")
@reason_option
@app_option
@json_option
def recover(name: str, reason: str, app: str | None, *, as_json: bool) -> int:
    """Run the recovery procedure of service NAME; it is restarted when that fails and it was registered so."""
    return act(app, "POST", f"{_ERRORS}/recover", {"name": name}, {"reason": reason}, as_json=as_json)


@service.command()
@click.argument("name")
@reason_option
@app_option
@json_option
def restart(name: str, reason: str, app: str | None, *, as_json: bool) -> int:
    """Restart the workers of service NAME (worker-0: of that slot), else the whole program, worker by worker."""
    return act(app, "POST", "/health/services/{name}/restart", {"name": name}, {"reason": reason}, as_json=as_json)


@service.command()
@click.argument("name")
@for_option
@reason_option
@app_option
@json_option
def degrade(name: str, for_: str | None, reason: str, app: str | None, *, as_json: bool) -> int:
    """Switch service NAME to degraded mode."""
    query = {"for": duration(for_), "reason": reason}
    return act(app, "POST", f"{_ERRORS}/degrade", {"name": name}, query, as_json=as_json)


@service.command()
@click.argument("name")
@reason_option
@app_option
@json_option
def restore(name: str, reason: str, app: str | None, *, as_json: bool) -> int:
    """End the degraded mode of service NAME."""
    return act(app, "DELETE", f"{_ERRORS}/degrade", {"name": name}, {"reason": reason}, as_json=as_json)
