"""The screens that people see, compared line by line.

After a change that is meant: ``ROADWORTHY_GOLDEN=write pytest tests/golden`` and read the difference.
"""

import os
from pathlib import Path

import pytest

from roadworthy.types import Overhead
from roadworthy.view.terminal import resilience
from roadworthy.view.terminal.status import status
from roadworthy.view.terminal.text import Style
from roadworthy.view.terminal.top import Trail, screen
from unit.view.snapshots import NOW, guarded, quiet, troubled

HERE = Path(__file__).parent / "terminal"


def trail():
    past = Trail()
    for i in range(90):
        past.add(
            {
                "requests.rate": None if 40 <= i < 43 else 30.0 + i % 5,
                "cpu.percent": (i % 9) * 8.0,
                "rss.bytes": 8e7 + i * 4e5,
            }
        )
    return past


SCREENS = {
    "status-quiet": lambda: status(quiet(overhead=Overhead(0.5, 4e7, 0.0, 1e7, series=12)), Style(width=100), NOW + 1),
    "status-troubled": lambda: status(troubled(), Style(width=100), NOW + 1),
    "status-troubled-narrow": lambda: status(troubled(), Style(width=60), NOW + 1),
    "status-troubled-ascii": lambda: status(troubled(), Style(unicode=False, width=80), NOW + 1),
    "status-troubled-colour": lambda: status(troubled(), Style(colour=True, width=100), NOW + 1),
    "status-signals-self": lambda: status(troubled(), Style(width=100), NOW + 1, signals=True, own=True),
    "status-guarded": lambda: status(guarded(), Style(width=120), NOW + 1),
    "status-guarded-narrow": lambda: status(guarded(), Style(width=60), NOW + 1),
    "policy-list": lambda: resilience.policies(guarded().policies, Style(width=120), NOW + 1),
    "service-list": lambda: resilience.services(guarded().services, Style(width=120), NOW + 1),
    "feature-list": lambda: resilience.features(guarded().features, Style(width=120), NOW + 1),
    "status-stale": lambda: status(quiet(), Style(width=100), NOW + 90),
    "top-operations": lambda: screen(troubled(), trail(), Style(width=100), NOW + 1, view="o", height=24),
    "top-processes": lambda: screen(troubled(), trail(), Style(width=100), NOW + 1, view="p", height=24),
    "top-errors": lambda: screen(troubled(), trail(), Style(width=100), NOW + 1, view="e", height=24),
    "top-health": lambda: screen(troubled(), trail(), Style(width=100), NOW + 1, view="h", height=30),
    "top-narrow-without-past": lambda: screen(quiet(), Trail(), Style(width=46), NOW + 1, height=20),
}


@pytest.mark.parametrize("name", SCREENS)
def test_the_screen_is_as_it_was(name):
    drawn = "\n".join(SCREENS[name]()).replace("\x1b", "<esc>") + "\n"
    file = HERE / f"{name}.txt"
    if os.environ.get("ROADWORTHY_GOLDEN") == "write":
        file.write_text(drawn, encoding="utf-8")
    assert drawn == file.read_text(encoding="utf-8")
