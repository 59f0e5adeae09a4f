"""``roadworthy secrets``: put secrets into the store that is chosen, look at what is there, renew it, find stray ones.

Values come from standard input or a prompt, never from the command line, where every process could read them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from roadworthy import _clock
from roadworthy.cli.audited import audited
from roadworthy.cli.errors import warn
from roadworthy.config.secrets import choose
from roadworthy.errors import EXIT_OK, EXIT_SECURITY, RoadworthyError, UsageError

if TYPE_CHECKING:
    from roadworthy.config.secrets import Backend
    from roadworthy.config.secrets.encrypted import EncryptedStore

_LENGTHS = ((8, "shorter than 8 characters"), (20, "8 to 19 characters"), (40, "20 to 39 characters"))
_SPANS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"))

backend_option = click.option(
    "--backend", default="", metavar="KIND", help="Which store; else what SECRETS_BACKEND says, else the environment."
)
app_option = click.option(
    "--app", default="", metavar="NAME", help="Whose audit trail has it; else that of this folder's name."
)
reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; kept in the audit trail.")
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.group()
def secrets() -> None:
    """Keep secrets in a store, and out of everything else.

    SECRETS_BACKEND chooses the store: env, dotenv, encrypted_file, systemd_credentials, directory, aws_secrets_manager,
    gcp_secret_manager, azure_key_vault, hashicorp_vault.
    """


@secrets.command("set")
@click.argument("name")
@backend_option
@reason_option
@app_option
def set_(name: str, backend: str, reason: str, app: str) -> int:
    """Put secret NAME into the store; its value is read from standard input, or asked for."""
    opened = _opened(backend)
    value = _value(name)
    audited("secrets set", name, reason, app, lambda: opened.set(name, value))
    click.echo(f"{name} is in {opened.describe().place.rstrip(',')}")
    return EXIT_OK


@secrets.command()
@click.argument("name")
@click.option("--reveal", is_flag=True, help="Print the value, and nothing else.")
@backend_option
@app_option
@json_option
def get(name: str, backend: str, app: str, *, reveal: bool, as_json: bool) -> int:
    """Tell whether secret NAME is there, about how long it is and since when; print its value only with --reveal."""
    opened = _opened(backend)
    secret = opened.get(name)
    if reveal:
        audited("secrets get --reveal", name, "", app, lambda: None)
        click.echo(json.dumps({"name": name, "value": secret.reveal()}) if as_json else secret.reveal())
        return EXIT_OK
    entry = next((entry for entry in opened.entries() if entry.name.lower() == name.lower()), None)
    length = next((said for most, said in _LENGTHS if len(secret.reveal()) < most), "40 characters or more")
    place = opened.describe().place.rstrip(",")
    changed = entry.changed if entry else None
    if as_json:
        click.echo(json.dumps({"name": name, "length": length, "origin": place, "changed": changed}))
    else:
        click.echo(f"{name} is there: {length}, from {place}, {_age(changed)}")
    return EXIT_OK


@secrets.command("list")
@backend_option
@json_option
def list_(backend: str, *, as_json: bool) -> int:
    """List the names of secrets, where they come from and when they were last changed; never a value."""
    opened = _opened(backend)
    entries = opened.entries()
    place = opened.describe().place.rstrip(",")
    if as_json:
        rows = [{"name": entry.name, "origin": place, "changed": entry.changed} for entry in entries]
        click.echo(json.dumps({"secrets": rows}, indent=1))
        return EXIT_OK
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        click.echo(f"{entry.name:{width}}  {_age(entry.changed)}")
    click.echo(f"{len(entries)} secret{'' if len(entries) == 1 else 's'} in {place}")
    return EXIT_OK


@secrets.command()
@click.argument("name")
@backend_option
@reason_option
@app_option
def remove(name: str, backend: str, reason: str, app: str) -> int:
    """Take secret NAME out of the store."""
    opened = _opened(backend)
    audited("secrets remove", name, reason, app, lambda: opened.delete(name))
    click.echo(f"{name} is no longer in {opened.describe().place.rstrip(',')}")
    return EXIT_OK


@secrets.command()
@click.option("--file", "path", type=click.Path(path_type=Path), help="Which .env; else the one in this folder.")
@click.option("--keep", multiple=True, metavar="NAME", help="Leave this one where it is; may be repeated.")
@click.option("--overwrite", is_flag=True, help="Let its values replace other ones of the same name in the store.")
@click.option("--dry-run", is_flag=True, help="Only tell what would move.")
@reason_option
@app_option
def encrypt(path: Path | None, keep: tuple[str, ...], reason: str, app: str, *, overwrite: bool, dry_run: bool) -> int:
    """Move the secrets of a plain .env to the encrypted file; every other line and comment stays."""
    from roadworthy.audit.secrets import is_secret
    from roadworthy.config.secrets.move import move

    source = path or choose.dotenv_path(os.environ, Path.cwd())
    if not source.is_file():
        raise UsageError(f"{source} is not there", why="There is nothing to encrypt.", hint="Name another: --file PATH")
    store = choose.encrypted_store(os.environ, Path.cwd())

    def act() -> Any:  # noqa: ANN401 - what move returns
        return move(source, store, is_secret, keep=keep, overwrite=overwrite, only_tell=dry_run)

    done = act() if dry_run else audited("secrets encrypt", str(source), reason, app, act)
    for name in done.names:
        click.echo(f"{name} {'would move' if dry_run else 'moved'}")
    for line in done.doubtful:
        warn(f"{source}, line {line}: a secret seems to stand in this comment; it was left there")
    if not done.names:
        click.echo(f"no secret in {source}")
    elif not dry_run:
        click.echo(f"They are in {store.path}; have programs read them there: SECRETS_BACKEND=encrypted_file")
        click.echo("Their plain text was on this disk: renew those that were ever committed, copied or backed up.")
    return EXIT_OK


@secrets.command()
@click.argument("name", required=False)
@click.option("--confirm", is_flag=True, help="The new value of NAME works: forget the previous one.")
@click.option("--undo", is_flag=True, help="Put the previous value of NAME back.")
@click.option("--forget-old-key", is_flag=True, help="Keep no old key: copies of the file become unreadable.")
@reason_option
@app_option
def rotate(name: str | None, reason: str, app: str, *, confirm: bool, undo: bool, forget_old_key: bool) -> int:
    """Encrypt the encrypted file under a new key; with NAME, give that secret a new value and keep the previous one.

    Old keys stay in the key file, behind the new one, so that copies of the encrypted file can still be read.
    """
    store = choose.encrypted_store(os.environ, Path.cwd())
    if name is None:
        if confirm or undo:
            raise UsageError(
                "--confirm and --undo need the NAME of a secret", hint="See: roadworthy secrets rotate --help"
            )
        old, new = audited("secrets rotate", "the key", reason, app, lambda: store.rotate_key(forget=forget_old_key))
        kept = "is forgotten" if forget_old_key else "stays for copies"
        click.echo(f"{store.path} is encrypted under the new key {new}; the old one, {old or 'none'}, {kept}")
        return EXIT_OK
    if forget_old_key or (confirm and undo):
        raise UsageError(
            "these options do not go together", why="With NAME: --confirm or --undo.", hint="Give one of them."
        )
    return _rotate_value(store, name, reason, app, confirm=confirm, undo=undo)


def _rotate_value(store: EncryptedStore, name: str, reason: str, app: str, *, confirm: bool, undo: bool) -> int:
    if confirm:
        audited("secrets rotate --confirm", name, reason, app, lambda: store.confirm(name))
        click.echo(f"the previous value of {name} is forgotten")
    elif undo:
        audited("secrets rotate --undo", name, reason, app, lambda: store.take_back(name))
        click.echo(f"{name} has its previous value again")
    else:
        store.previous(name)  # says that it is not there before a value is asked for
        value = _value(name)
        audited("secrets rotate", name, reason, app, lambda: store.replace_value(name, value))
        click.echo(
            f"{name} has its new value; the previous one is kept until: roadworthy secrets rotate {name} --confirm"
        )
    return EXIT_OK


@secrets.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path())
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Pass these paths over; may be repeated.")
@json_option
def check(folder: Path, exclude: tuple[str, ...], *, as_json: bool) -> int:
    """Find secrets in files that git tracks, and a .env that could be committed or read; 6 when something is found."""
    from roadworthy.audit.secrets import check as look

    known, notes = _known(folder)
    checked = look(folder, known, exclude)
    notes += list(checked.notes)
    if not checked.tracked:
        notes.append("git does not tell which files it tracks here: all were looked at")
    if as_json:
        rows = [{"where": each.where, "what": each.what, "hint": each.hint} for each in checked.violations]
        click.echo(json.dumps({"violations": rows, "notes": notes, "files": checked.files}, indent=1))
    else:
        for each in checked.violations:
            click.echo(f"{each.where}: {each.what}\n  {each.hint}")
        for note in notes:
            click.echo(f"note: {note}")
        count = len(checked.violations)
        files = f"{checked.files} file{'' if checked.files == 1 else 's'}"
        click.echo(f"{count or 'no'} violation{'' if count == 1 else 's'} in {files}")
    return EXIT_SECURITY if checked.violations else EXIT_OK


def _known(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the secrets of the folder's own stores, whose values are looked for, and which could not be read."""
    from roadworthy.audit.secrets import is_secret
    from roadworthy.config.secrets import dotenv
    from roadworthy.types import Secret

    known: dict[str, Secret] = {}
    notes = []
    path = choose.dotenv_path(os.environ, folder)
    try:
        found = dotenv.values(dotenv.read(path)) if path.is_file() else {}
        known |= {name: Secret(value, name) for name, value in found.items() if value and is_secret(name, value)}
        store = choose.encrypted_store(os.environ, folder)
        known |= store.values() if store.path.exists() else {}
    except (RoadworthyError, OSError) as error:
        notes.append(f"its values were not looked for: {str(error).splitlines()[0]}")
    return known, notes


def _opened(kind: str) -> Backend:
    from roadworthy.audit.secrets import is_secret

    return choose.open_backend(kind=kind, is_secret=is_secret)


def _value(name: str) -> str:
    """Return a value from standard input, or from a prompt where that is a terminal; raises UsageError for none."""
    if _terminal():
        value: str = click.prompt(
            f"Value of {name}", hide_input=True, confirmation_prompt=True, default="", show_default=False
        )
    else:
        value = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not value:
        raise UsageError(
            f"the value of {name} is empty",
            why="It is read from standard input, never from the command line.",
            hint=f"For example: roadworthy secrets set {name} < file; to take it out: roadworthy secrets remove {name}",
        )
    return value


def _terminal() -> bool:
    return sys.stdin.isatty()


def _age(changed: float | None) -> str:
    if changed is None:
        return "when it was changed is unknown"
    seconds = max(0.0, _clock.wall() - changed)
    for span, word in _SPANS:
        if seconds >= span:
            count = int(seconds // span)
            return f"changed {count} {word}{'' if count == 1 else 's'} ago"
    return "changed just now"
