"""What runs inside somebody's process, or in the keeper, imports the standard library and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
PACKAGE = SOURCE / "roadworthy"

# Isolated (-I) and without site-packages (-S): a third-party import that is not guarded fails where it stands.
PROGRAM = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
print(json.dumps(files))
"""


def loaded_by(*names):
    """Return name and file of each module that a fresh interpreter holds after importing these."""
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, str(SOURCE), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def modules_of(place):
    """Return the dotted names of all importable modules of a package or module, given relative to roadworthy."""
    path = PACKAGE / place
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    return [
        ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        for file in files
        if file.exists() and file.stem != "__main__" and (file.parent / "__init__.py").exists()
    ]


def third_party(loaded):
    ours = str(PACKAGE)
    return sorted(
        name
        for name, file in loaded.items()
        if name.partition(".")[0] not in sys.stdlib_module_names | {"__main__"}
        and not (file or "").startswith(ours)
        and not name.startswith("__mp_")
    )


@pytest.mark.parametrize(
    "place", ["app", "arena", "config/detect", "config/places", "config/values", "keeper", "log", "resilience"]
)
def test_it_imports_nothing_but_the_standard_library(place):
    names = modules_of(place)
    assert names
    loaded = loaded_by(*names)
    assert set(names) <= set(loaded)
    assert third_party(loaded) == []


def test_the_check_would_see_a_third_party_module():
    assert third_party({"psutil": "/somewhere/psutil/__init__.py", "os": "/usr/lib/os.py"}) == ["psutil"]


def test_importing_roadworthy_loads_nothing_else_of_ours():
    ours = [name for name in loaded_by("roadworthy") if name.partition(".")[0] == "roadworthy"]
    assert ours == ["roadworthy"]


def test_a_policy_needs_nothing_of_ours_but_resilience_and_what_lies_below():
    loaded = loaded_by("roadworthy.resilience.policy", "roadworthy.resilience.wrap", "roadworthy.resilience.retry")
    ours = {name.removeprefix("roadworthy.") for name in loaded if name.startswith("roadworthy.")}
    assert {name for name in ours if not name.startswith("resilience")} == {"_clock", "errors"}
    heavy = {"asyncio", "concurrent.futures", "dataclasses", "inspect", "random", "threading", "typing", "weakref"}
    assert heavy.isdisjoint(loaded)
