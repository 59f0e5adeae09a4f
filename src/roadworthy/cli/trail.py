"""``roadworthy trail``: what people had changed and what mattered for security, and whether that record is whole.

Works on the state directory, so for programs that run and those that do not. ``verify`` exits with 0 when the trail is
whole and with 7 when a link of it is broken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from roadworthy import _clock
from roadworthy.config.places import places
from roadworthy.errors import EXIT_OK, EXIT_UNHEALTHY, NotFound, UsageError
from roadworthy.log import chain
from roadworthy.log import trail as trail_files
from roadworthy.log.redact import one_line
from roadworthy.log.verify import Verified, lines

SHOW: Final = "show"
VERIFY: Final = "verify"
_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)\Z")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@click.command()
@click.argument("words", nargs=-1, metavar="[NAME] [show|verify]")
@click.option("--app", metavar="NAME", help="Which application, when its name is one of the two verbs.")
@click.option("--folder", type=click.Path(path_type=Path), help="The trail in this folder: a copy, for instance.")
@click.option("--json", "as_json", is_flag=True, help="As JSON: one record a line, or the result of verify.")
@click.option("--since", metavar="TIME", help="Only since then: 2h, 7d, or 2026-11-30T08:00.")
@click.option("--act", metavar="ACT", help="Only this act: restart, force, security, refused, ...")
@click.option("-n", "--last", type=click.IntRange(1), metavar="N", help="Only the last N records.")
@click.option("--expect", default="", metavar="HASH", help="With verify: a head that was kept elsewhere must be in it.")
def trail(
    words: tuple[str, ...],
    app: str | None,
    folder: Path | None,
    since: str | None,
    act: str | None,
    last: int | None,
    expect: str,
    *,
    as_json: bool,
) -> int:
    """Show the audit trail of application NAME, or verify that no record was changed, removed or put in.

    NAME may be left out when only one application has a trail. verify prints the hash of the last record: keep it
    somewhere else and hand it in with --expect later; without that, whoever may write the files can make them anew.
    The exit code of verify is 0 when the trail is whole, 7 when a link is broken.
    """
    verb, name = _parse(words, app)
    if expect and verb != VERIFY:
        raise UsageError("--expect is for verify", hint=f"roadworthy trail verify --expect {one_line(expect)[:80]}")
    where = folder or _find(name)
    if verb == VERIFY:
        found = trail_files.verify(where, expect=expect)
        click.echo(_document(found) if as_json else "\n".join(_verdict(found, where)))
        return EXIT_OK if found.whole else EXIT_UNHEALTHY
    records = _chosen(where, _time(since, _clock.wall()) if since else None, act)
    for record in list(records)[-last if last else 0 :]:
        click.echo(json.dumps(record, ensure_ascii=False) if as_json else _row(record))
    return EXIT_OK


def _parse(words: tuple[str, ...], app: str | None) -> tuple[str, str | None]:
    verbs = [word for word in words if word in {SHOW, VERIFY}]
    names = [word for word in words if word not in {SHOW, VERIFY}] + ([app] if app else [])
    if len(verbs) > 1 or len(names) > 1:
        raise UsageError(
            f"trail: {' '.join(words)!r} is not understood",
            why="It takes the name of one application and one of show and verify.",
            hint="For example: roadworthy trail shop verify",
        )
    return (verbs or [SHOW])[0], names[0] if names else None


def _find(name: str | None) -> Path:
    """Return the state directory of the application, or of the only one that has a trail."""
    if name is not None:
        found = places(name).state
        if not _has_trail(found):
            known = _known()
            raise NotFound(
                f"{name} has no audit trail",
                why=f"There are trails of: {', '.join(known)}." if known else "No application has one yet.",
                hint="It begins with the first thing that somebody has changed: a restart, a forced breaker.",
            )
        return found
    known = _known()
    if len(known) == 1:
        return places(known[0]).state
    if not known:
        raise NotFound(
            "there is no audit trail",
            why="Nothing was changed yet in any application of this user.",
            hint="Another place? --folder DIRECTORY, or set ROADWORTHY_HOME as the program had it.",
        )
    raise UsageError(
        "which application?", why=f"{len(known)} have a trail: {', '.join(known)}.", hint=f"For example: {known[0]}"
    )


def _known() -> list[str]:
    root = places("any").state.parent
    return sorted(one.name for one in root.iterdir() if _has_trail(one)) if root.is_dir() else []


def _has_trail(folder: Path) -> bool:
    return (folder / trail_files.FILE).exists() or (folder / trail_files.HEAD).exists()


def _time(text: str, now: float) -> float:
    """Return a time in seconds since the epoch: so long ago, or a date and time (local, unless it says otherwise)."""
    if found := _AGO.match(text.strip()):
        return now - float(found[1]) * _SECONDS[found[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        raise UsageError(
            f"--since: {text[:80]!r} is no time",
            why="It is a number with s, m, h, d or w, or a date and time.",
            hint="For example: --since 2h, or --since 2026-11-30T08:00",
        ) from None


def _chosen(folder: Path, since: float | None, act: str | None) -> Iterator[dict[str, Any]]:
    names = [*trail_files.archives(str(folder)), trail_files.FILE] if folder.is_dir() else []
    files = [(str(folder / name), (folder / name).stat().st_size) for name in names if (folder / name).exists()]
    if not files:
        raise NotFound(f"there is no audit trail in {folder}", hint="Is it the state directory of an application?")
    for line in lines(files):
        record = chain.load(line.text)
        at = record.get("at")
        late = since is None or (isinstance(at, int | float) and at >= since)
        if record and late and act in {None, record.get("act")}:
            yield record


def _row(record: Mapping[str, Any]) -> str:
    """Return one record for people; what it holds cannot move the cursor, whoever wrote it."""
    result, data = record.get("result"), record.get("data")
    parts = [f"{record.get('act') or '?'} {record.get('target') or ''}".rstrip()]
    if isinstance(result, Mapping):
        said = [str(result[key]) for key in ("outcome", "detail") if result.get(key)]
        parts.append(", ".join(said) or ("ok" if result.get("ok") else "failed"))
    elif result:
        parts.append(str(result))
    if "old" in record or "new" in record:
        parts.append(f"{_short(record.get('old'))} -> {_short(record.get('new'))}")
    if record.get("reason"):
        parts.append(f"({record['reason']})")
    if record.get("severity"):
        parts.append(f"[{record['severity']}] {record.get('description') or ''}".rstrip())
    if data:
        parts.append(_short(data))
    return one_line(f"{_when(record.get('at'))}  {record.get('actor') or '-'}: {' · '.join(parts)}")


def _when(at: object) -> str:
    """Return a time as people here read it, with its zone."""
    if not isinstance(at, int | float) or not 0 <= at < 1e11:  # noqa: PLR2004 - the year 5138
        return "unknown"
    return datetime.fromtimestamp(at, UTC).astimezone().isoformat(" ", "seconds")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:160] + "…"  # noqa: PLR2004 - two lines of a terminal


def _document(found: Verified) -> str:
    return json.dumps({"whole": found.whole, **asdict(found)}, ensure_ascii=False, indent=1)


def _verdict(found: Verified, folder: Path) -> list[str]:
    """Return what is said of a verification, the first broken link first."""
    told = []
    if found.broken is not None:
        where = f"line {found.broken.line} of {found.broken.file}" if found.broken.line else found.broken.file
        told += [f"BROKEN at {where}: {found.broken.what}: {found.broken.detail}", ""]
    name = found.app or folder.name
    told.append(f"trail of {one_line(name)}, in {folder}, since {_when(found.since)}")
    good = "good up to there" if found.broken else "whole"
    told.append(f"{found.records} record{'s' * (found.records != 1)} in {len(found.files)} file(s): {good}")
    if found.unchained:
        told.append(f"{found.unchained} line(s) of an older version come before the chain")
    if found.cut_off:
        told.append(f"{found.cut_off} line(s) were cut off while they were written, and told")
    told += [f"note: {note}" for note in found.notes]
    if found.broken is None and found.head:
        told.append(f"head {found.head_seq}: {found.head}")
        told.append("keep it elsewhere; later: roadworthy trail verify --expect HASH")
    return told
