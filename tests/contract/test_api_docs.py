"""docs/api.md names every path and every problem code, and nothing that does not exist."""

import re
from pathlib import Path

from roadworthy.view.web.app import routes
from unit.view.snapshots import quiet
from unit.view.sources import Past, Source

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
SOURCES = [
    *(ROOT / "src" / "roadworthy" / "view").rglob("*.py"),
    ROOT / "src" / "roadworthy" / "agent" / "gate.py",
    ROOT / "src" / "roadworthy" / "agent" / "server.py",
    ROOT / "src" / "roadworthy" / "agent" / "connection.py",
]
CODE = re.compile(r'(?:Problem|Denied|_say|_problem)\(\s*\d{3},\s*"([a-z-]+)"')
FALLBACK = re.compile(r'\d{3}: "([a-z-]+)"')


def test_the_page_names_every_path_and_no_other():
    served = {route.path for route in routes(Source(quiet()), Past())}
    named = {path.partition("?")[0] for path in re.findall(r"`(?:POST )?(/[^`\s]*)`", PAGE)}
    assert named == served


def test_the_page_names_every_problem_code_and_no_other():
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    raised = set(CODE.findall(text)) | set(FALLBACK.findall(text)) | {"refused"}
    table = PAGE.partition("## When something is wrong")[2]
    told = set(re.findall(r"`([a-z]+(?:-[a-z]+)+|refused)`", table))
    assert told == raised
