"""Tests that need a program which may not be here.

A test names what it needs, by the marker or, when it also wants the path, by the fixture::

    @pytest.mark.service("redis-server")
    def test_shared_state(): ...

    def test_history(service):
        initdb = service("initdb")

On a developer's machine such a test is skipped with the reason. With ``ROADWORTHY_CI=1`` a test that names a service
and is skipped, for whatever reason, is a failure: there the services are installed, and a skip would be a hole that
looks green.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import settings

from support.pace import Pace

CI = os.environ.get("ROADWORTHY_CI") == "1"

if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup programs inherit that, and keep to it

os.environ.pop("COLUMNS", None)  # pytest-xdist tells its workers a width; what is tested finds out by itself

# No test here fails for being slow on a busy machine, and what fails in CI fails again at home.
settings.register_profile("roadworthy", deadline=None, derandomize=CI, print_blob=True)
settings.load_profile("roadworthy")

# Where distributions keep servers that are not on an ordinary user's PATH, newest version first.
_ELSEWHERE = ("/usr/lib/postgresql/*/bin", "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/chromium")
_ALSO_CALLED = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "chromium-driver": ("chromedriver",),
    "postgresql": ("postgres",),
    "redis-server": ("redis-server", "valkey-server"),
}


def find_program(name: str) -> Path | None:
    """Return the executable that is called so, on PATH or where servers are kept, or None."""
    folders = [str(folder) for pattern in _ELSEWHERE for folder in sorted(Path("/").glob(pattern[1:]), reverse=True)]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders])
    for spelling in _ALSO_CALLED.get(name, (name,)):
        if found := shutil.which(spelling, path=path):
            return Path(found)
    return None


def _need(name: str) -> Path:
    found = find_program(name)
    if found is None:
        pytest.skip(f"needs {name}, which is not on this machine")
    return found


@pytest.fixture(scope="session")
def service():
    """Return a function from a program's name to its path; it skips the test when the program is missing."""
    return _need


@pytest.fixture(scope="session")
def runtime_home(tmp_path_factory):
    """The runtime of the test process, called ``unit``, in a place of its own.

    A process has one runtime. Whoever may start it asks for this one first, or its place and name would be left to
    chance: to which test came first.
    """
    place = tmp_path_factory.mktemp("home")
    before = os.environ.get("ROADWORTHY_HOME")
    os.environ["ROADWORTHY_HOME"] = str(place)
    from roadworthy.app import start

    start.start("unit")
    yield place
    if before is None:
        del os.environ["ROADWORTHY_HOME"]
    else:
        os.environ["ROADWORTHY_HOME"] = before


@pytest.fixture
def own_secrets():
    """Secret values that a test made known are none to the next one, whose harmless texts may hold them."""
    yield
    from roadworthy import _known

    if _known.values:
        _known.forget()


@pytest.fixture
def pace():
    """How much time the machine took from this test; see :mod:`support.pace`."""
    with Pace() as watching:
        yield watching


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


def pytest_collection_finish():
    """Keep what was loaded to here out of collections: recovery collects, and each would look at all of it again."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item):
    for marker in item.iter_markers("service"):
        for name in marker.args:
            _need(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    needs_service = item.get_closest_marker("service") or "service" in getattr(item, "fixturenames", ())
    if CI and report.skipped and needs_service and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where ROADWORTHY_CI=1 allows no skip: {call.excinfo.value}"
    return report
