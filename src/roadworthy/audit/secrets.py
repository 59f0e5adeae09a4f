"""Secrets where none may be: hard-coded in files that git tracks, or in a ``.env`` that could be committed or read.

A line is found when a word of it has the published shape of a key or token, when an address in it carries a password,
when a name that secrets are kept under is given a value that looks like one, or when the value of a secret that the
project uses stands in it. Placeholders, lock files and binary files are passed over, and so are lines that say
``roadworthy: not a secret``.
"""

from __future__ import annotations

import fnmatch
import math
import re
import stat
import subprocess
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from roadworthy.log.redact import redact, secret_key

if TYPE_CHECKING:
    from pathlib import Path

    from roadworthy.types import Secret

MARK = "roadworthy: not a secret"
LARGEST = 2 * 1024 * 1024
"""Bytes of a file beyond which it is passed over: no source, and no configuration."""
SHORTEST_KNOWN = 8
"""Characters below which the value of a secret is not looked for: it would be found in harmless text."""

_PASSED_OVER = (
    "*.lock", "*-lock.json", "*-lock.yaml", "go.sum", "*.min.js", "*.min.css", "*.svg", "*.map",
)  # fmt: skip
_CONFIGURATION = (
    ".env*", "*.env", "*.ini", "*.cfg", "*.conf", "*.properties", "*.toml", "*.yaml", "*.yml", "*.json", "*.service",
    "Dockerfile*", "*.sh", "*.tf", "*.tfvars",
)  # fmt: skip
_TEMPLATES = (".example", ".sample", ".template", ".dist")

_WORDS = re.compile(r"[^\s\"'`,;:()<>\[\]{}=|\\]{16,}")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:\s*$|(?:\\n|\s)*[A-Za-z0-9+/=]{16})", re.MULTILINE
)
_OUR_KEY = "# The key of a roadworthy secrets file."
_ADDRESS = re.compile(r"[a-z][a-z0-9+.\-]*://[^\s/?#:@\"'<>]*:([^\s/?#@\"'<>]{4,})@")
_QUOTED = re.compile(
    r"(?<![:\w])([A-Za-z_][\w.\-]{1,60})[\"']?\s*(?:[:=]|=>|:=)\s*[a-zA-Z]{0,2}([\"'])([^\"'\s]{8,})\2"
)
_BARE = re.compile(r"^\s*(?:export\s+|ENV\s+|-\s+)?([A-Za-z_][\w.\-]{1,60})\s*[:=]\s*([^\s#\"']{8,})\s*(?:#.*)?$")
_PLACEHOLDER = re.compile(
    r"your|example|placeholder|change.?me|replace|dummy|sample|redacted|todo|fixme|xxx|\*\*\*|\.\.\.|…|^[<${%/.(]|://|^sk-(?:ecdsa|ssh)"
    r"|^(?:none|null|true|false|secret|password|passwd|pass|user|token|postgres|root|guest|test)$",
    re.IGNORECASE,
)
_NAME_OF_SOMETHING = re.compile(r"[a-z][A-Z]|[a-z][._/-][A-Za-z]|^[A-Z_]+$")
_DIGIT, _LETTER = re.compile(r"[0-9]"), re.compile(r"[A-Za-z]")
_NO_SECRET_KEYS = frozenset({"PUBLIC", "PUBLISHABLE", "PRIMARY", "FOREIGN", "SORT", "PARTITION", "CACHE"})
_MANY_DISTINCT = 3.0
_VERY_DISTINCT = 3.3
_LONG = 12


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is unsafe: ``where`` (file, or file:line), ``what``, and ``hint``, what to do about it."""

    where: str
    what: str
    hint: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, in how many files; ``tracked`` says whether git told us which files it tracks."""

    violations: tuple[Violation, ...]
    notes: tuple[str, ...]
    files: int
    tracked: bool


def is_secret(name: str, value: str) -> bool:
    """Return whether a setting holds a secret: by its name, or by the shape of its value; an e-mail address is none."""
    if name in {"PWD", "OLDPWD"} and value.startswith("/"):
        return False  # where a shell is and was
    if name and "mail" not in name.lower() and (secret_key(name) or _some_key(name, value)):
        return True
    return any(shape for shape in _shapes(value))


def _some_key(name: str, value: str) -> bool:
    """Return whether it is called ``..._KEY``, as settings call secrets, and looks like one; some keys are none."""
    words = name.upper().split("_")
    return words[-1] == "KEY" and _NO_SECRET_KEYS.isdisjoint(words) and _mixed(value) and len(value) >= SHORTEST_KNOWN


def check(folder: Path, known: Mapping[str, Secret] | None = None, exclude: Collection[str] = ()) -> Checked:
    """Look at every file below ``folder`` that git tracks (all of them where git knows nothing), and at its ``.env``.

    ``known`` are secrets whose values are looked for; ``exclude`` are patterns of paths that are passed over.
    """
    values = [(name, secret.reveal()) for name, secret in (known or {}).items()]
    values = [(name, value) for name, value in values if len(value) >= SHORTEST_KNOWN]
    listed = _tracked(folder)
    names = _all_files(folder) if listed is None else listed
    found: list[Violation] = []
    looked_at = 0
    for name in sorted(names):
        if _matches(name, (*_PASSED_OVER, *exclude)):
            continue
        text = _text(folder / name)
        if text is not None:
            looked_at += 1
            found += in_text(text, name, values)
    notes: list[str] = []
    for violation in _dotenv_files(folder, set(names) if listed is not None else set(), notes, git=listed is not None):
        found.append(violation)
    return Checked(tuple(found), tuple(notes), looked_at, listed is not None)


def in_text(text: str, name: str, values: Iterable[tuple[str, str]] = ()) -> list[Violation]:
    """Return what is found in the text of the file ``name``, at most one thing a line."""
    found = []
    configuration = _matches(name, _CONFIGURATION)
    for number, line in enumerate(text.splitlines(), 1):
        if MARK in line:
            continue
        what = _in_line(line, values, configuration=configuration)
        if what:
            hint = (
                f"Take it out, renew it where it was made, and keep the new one in a store. No secret? Write: # {MARK}"
            )
            found.append(Violation(f"{name}:{number}", what, hint))
    return found


def _in_line(line: str, values: Iterable[tuple[str, str]], *, configuration: bool) -> str:
    for name, value in values:
        if value in line:
            return f"the value of the secret {name} stands here"
    if line.startswith(_OUR_KEY):
        return "the key of an encrypted secrets file stands here"
    for what in _shapes(line):
        return what
    for key, value in _assigned(line, configuration=configuration):
        if secret_key(key) and "mail" not in key.lower() and _looks_secret(value, configuration):
            return f"{key} is given a value that looks like a secret"
    return ""


def _shapes(text: str) -> Iterator[str]:
    if _PRIVATE_KEY.search(text):
        yield "a private key stands here"
    for found in _ADDRESS.finditer(text):
        if not _PLACEHOLDER.search(found[1]):
            yield "an address with a password in it stands here"
    for word in _WORDS.findall(text):
        if _mixed(word) and "[redacted]" in redact(word) and not _PLACEHOLDER.search(word):
            yield "a word with the shape of a key or token stands here"


def _assigned(line: str, *, configuration: bool) -> Iterator[tuple[str, str]]:
    for found in _QUOTED.finditer(line):
        yield found[1], found[3]
    if configuration and (bare := _BARE.match(line)):
        yield bare[1], bare[2]


def _looks_secret(value: str, configuration: bool) -> bool:  # noqa: FBT001 - handed on as it is
    if _PLACEHOLDER.search(value):
        return False
    if _mixed(value):
        return _entropy(value) >= _MANY_DISTINCT
    words = _NAME_OF_SOMETHING.search(value) is not None
    return configuration and len(value) >= _LONG and not words and _entropy(value) >= _VERY_DISTINCT


def _mixed(text: str) -> bool:
    return _DIGIT.search(text) is not None and _LETTER.search(text) is not None


def _entropy(text: str) -> float:
    """Return the bits a character that the text's own frequencies say."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def _dotenv_files(folder: Path, tracked: set[str], notes: list[str], *, git: bool) -> Iterator[Violation]:
    ignored: Callable[[str], bool] = (
        (lambda name: _git_ignores(folder, name)) if git else lambda name: _listed(folder, name)
    )
    if not ignored(".env"):
        yield Violation(".gitignore", ".env is not ignored", "Add a line to .gitignore: .env")
    for path in sorted(folder.glob(".env*")):
        name = path.name
        if not path.is_file() or (name != ".env" and not name.startswith(".env.")) or name.endswith(_TEMPLATES):
            continue
        if name in tracked:
            yield Violation(name, "it is tracked by git", f"git rm --cached {name}, and renew every secret in it")
        elif name != ".env" and not ignored(name):
            yield Violation(".gitignore", f"{name} is not ignored", f"Add a line to .gitignore: {name}")
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield Violation(name, f"others may read it (mode {mode:04o})", f"chmod 600 {name}")
        notes.append(f"{name} is plain text; to encrypt its secrets: roadworthy secrets encrypt")


def _tracked(folder: Path) -> list[str] | None:
    """Return the paths that git tracks below the folder, None where there is no git or no repository."""
    done = _git(folder, "ls-files", "-z")
    return None if done is None or done.returncode else [name for name in done.stdout.decode().split("\0") if name]


def _git_ignores(folder: Path, name: str) -> bool:
    done = _git(folder, "check-ignore", "-q", "--no-index", name)
    return done is not None and done.returncode == 0


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes] | None:
    try:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None


def _listed(folder: Path, name: str) -> bool:
    text = _text(folder / ".gitignore") or ""
    patterns = [line.strip().lstrip("/") for line in text.splitlines() if not line.startswith("#")]
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns if pattern)


def _all_files(folder: Path) -> list[str]:
    """Return the paths of all files that are not in hidden folders and are no ``.env``."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    kept = [path for path in paths if not any(part.startswith(".") for part in path.parts[:-1])]
    return [str(path) for path in kept if not path.name.startswith(".env") or path.name.endswith(_TEMPLATES)]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    last = name.rpartition("/")[2]
    return any(fnmatch.fnmatch(last, pattern) or fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _text(path: Path) -> str | None:
    """Return the text of a file, None when it is none, is too large or is not there."""
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    return None if b"\0" in data[:8192] else data.decode("utf-8", "replace")
