"""Fail when a file of this repository names a place that exists only on its author's machine or network.

Machine paths and registry hosts get in by copy and paste, above all through lock files, and make a fresh clone fail
far away. Looks at every text file that git tracks or would track; without git, at all outside hidden and built folders.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MACHINE = re.compile(r"/(?:work|farm|root)/")
REGISTRY = re.compile(r"\b(?:pypi|pythonhosted|npmjs)\.(?:org|com)\b")
WRONG = {"machine path": MACHINE, "registry host": REGISTRY}


def files() -> list[Path]:
    """Return every file that belongs to the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        hidden_or_built = re.compile(r"(?:^|/)(?:\.venv|\.git/|\.\w+_cache|build/|dist/|__pycache__)")
        paths = [path for path in ROOT.rglob("*") if not hidden_or_built.search(str(path.relative_to(ROOT)))]
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())


def findings(path: Path) -> list[str]:
    """Return one line of text for each line of the file that names such a place."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []
    return [
        f"{path.relative_to(ROOT)}:{number}: {what}: {line.strip()[:100]}"
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in WRONG.items()
        if pattern.search(line)
    ]


def main() -> int:
    """Print what was found; return 1 if there was anything."""
    paths = files()
    found = [line for path in paths for line in findings(path)]
    print("\n".join(found) if found else f"No machine path or registry host in {len(paths)} files.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
