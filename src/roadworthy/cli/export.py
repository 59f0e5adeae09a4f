"""``roadworthy export``: a program's figures as a file, now."""

from __future__ import annotations

from pathlib import Path

import click

from roadworthy.cli.report import repeat
from roadworthy.cli.status import ask
from roadworthy.view.client import choose

STANDARD_OUTPUT = "-"


@click.command()
@click.argument("name", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "prometheus"]),
    default="json",
    show_default=True,
    help="What to write.",
)
@click.option(
    "--path",
    "directory",
    default=".",
    show_default=True,
    metavar="DIR",
    help="Where to put the file; - prints it instead.",
)
@click.option("--every", metavar="DURATION", help="Go on until interrupted: one each time this has passed.")
@click.option("--prefix", default="metrics_", show_default=True, help="What the file's name begins with.")
def export(name: str | None, form: str, directory: str, prefix: str, every: str | None) -> int:
    """Write a program's figures to a file and print its path.

    NAME is the application's name; it may be left out when there is only one. The file is whole or not there at all.
    """
    from roadworthy.errors import UsageError
    from roadworthy.view import export as files
    from roadworthy.view import offline
    from roadworthy.view.snapshot import from_json

    if "/" in prefix or "\0" in prefix:
        raise UsageError(
            f"{prefix!r} cannot begin a file's name", why="It came from --prefix.", hint="The directory goes to --path."
        )
    place = choose(name)
    chosen: files.Format = "prometheus" if form == "prometheus" else "json"

    def once() -> None:
        document = ask(place)
        snapshot = offline.snapshot(place) if document is None else from_json(document)
        if directory == STANDARD_OUTPUT:
            click.echo(files.render(snapshot, chosen), nl=False)
        else:
            click.echo(files.write(snapshot, Path(directory), chosen, prefix=prefix))

    return repeat(once, every)
