"""What README, CONTRIBUTING and docs/ say is run: examples, commands, links.

- All ``python`` blocks of a page are one program, run in a fresh interpreter and an empty folder; a line number in its
  traceback is the line in the page. A listing that is not meant to be run is not marked ``python``.
- In ``console`` blocks, ``$ roadworthy ... --help`` and ``$ roadworthy --version`` are run; lines below them are
  compared with what was printed, with a line ``...`` for anything.
- Each ``make`` target that is named exists; each relative link leads somewhere.
"""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN_AS_WRITTEN = re.compile(r"roadworthy(?: [\w-]+)* --(?:help|version)")


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    """Return (number of the line before the first one, text) of each fenced block in that language."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    return [(t.map[0] + 1, t.content) for t in tokens if t.type == "fence" and t.info.split()[:1] == [language]]


def program(page):
    """Return the page's python blocks as one program, each line where it stands in the page."""
    lines = [""] * len(page.read_text(encoding="utf-8").splitlines())
    for start, text in blocks(page, "python"):
        for number, line in enumerate(text.splitlines(), start):
            lines[number] = line
    return "\n".join(lines) + "\n"


def commands(page):
    """Return (command, lines shown below it) for each console line that is run as written."""
    found = []
    for _, text in blocks(page, "console"):
        for line in text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:].strip(), []))
            elif found:
                found[-1][1].append(line)
    return [(command, shown) for command, shown in found if RUN_AS_WRITTEN.fullmatch(command)]


def environment(folder):
    """Return a clean environment in which nothing is found or left outside the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROADWORTHY_", "XDG_"))}
    places = {name: str(folder) for name in ("HOME", "ROADWORTHY_HOME", "XDG_CONFIG_HOME")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**kept, **places, "PATH": path, "COLUMNS": "100"}


def run(command, folder):
    return subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_the_python_examples_of_a_page_run(page, tmp_path):
    script = tmp_path / f"{page.stem.lower().replace('-', '_')}.py"
    script.write_text(program(page), encoding="utf-8")
    done = run([sys.executable, script.name], tmp_path)
    assert done.returncode == 0, f"{name_of(page)}:\n{done.stderr}"
    assert "roadworthy:" not in done.stderr, f"{name_of(page)} uses a name wrongly:\n{done.stderr}"


@pytest.mark.parametrize(
    ("command", "shown"),
    [pytest.param(*case, id=f"{name_of(page)}: {case[0]}") for page in PAGES for case in commands(page)],
)
def test_a_command_prints_what_the_page_shows(command, shown, tmp_path):
    done = run(command.split(), tmp_path)
    assert done.returncode == 0, done.stderr
    pattern = "".join(r"(?:.*\n)*?" if line.strip() == "..." else re.escape(line.rstrip()) + r" *\n" for line in shown)
    if pattern:
        assert re.fullmatch(pattern, done.stdout), f"the page shows\n{shown}\nit prints\n{done.stdout}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_that_a_page_names_exists(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^\$? ?)make ([a-z-]+)", text, re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page):
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    inline = itertools.chain.from_iterable(token.children or () for token in tokens)
    targets = [token.attrs.get("href") or token.attrs.get("src") for token in inline if token.attrs]
    paths = [target.partition("#")[0] for target in targets if target and "://" not in target]
    assert [path for path in paths if path and not (page.parent / path).exists()] == []
