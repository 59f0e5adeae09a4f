"""docs/requirements.md names only tests and paths that exist, and every row that it must."""

import ast
import re
from pathlib import Path

import pytest

from roadworthy.view.web.app import routes
from unit.view.snapshots import quiet
from unit.view.sources import Past, Source

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))
ROWS = [
    *(f"CFG-{number:02}" for number in range(1, 33)),
    *(f"MON-{number:02}" for number in range(1, 33)),
    *(f"STU-{number:02}" for number in range(1, 6)),
    *(f"RES-{number:02}" for number in range(1, 10)),
    *(f"LIF-{number:02}" for number in (1, 2, 3, 4, 13)),
    *(f"HLT-{number:02}" for number in range(1, 22)),
    *(f"PRF-{number:02}" for number in (1, 2, 4, 5, 6, 7, 8, 9)),
    *(f"ERR-{number:02}" for number in range(1, 23)),
    *(f"CBR-{number:02}" for number in range(1, 6)),
    *(f"DEG-{number:02}" for number in range(1, 8)),
    *(f"CCH-{number:02}" for number in range(1, 6)),
    *(f"WSS-{number:02}" for number in range(1, 7)),
    *(f"ENV-{number:02}" for number in range(1, 15)),
    *(f"LOG-{number:02}" for number in (11, 12, 13)),
    *(f"SEC-{number:02}" for number in (8, 11)),
    *(f"SCR-{number:02}" for number in range(1, 12)),
]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_test_that_is_named_exists(file, test):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert not test or test in functions


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_line(row):
    assert re.search(rf"^\|[^|]*\b{row}\b[^|]*\|", PAGE, re.MULTILINE)


def test_every_address_that_is_named_is_served():
    served = {route.path for route in routes(Source(quiet()), Past())}
    named = {path.partition("?")[0] for path in re.findall(r"`(/[^`\s]*)`", PAGE)}
    assert named - served == set()
