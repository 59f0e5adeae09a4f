"""Hooks run after the module's own code, and nothing about modules, specs and loaders is different."""

import importlib
import sys
from importlib.machinery import SourceFileLoader

import pytest

from roadworthy.app import guard
from roadworthy.app.inject import hooks


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    hooks.install()
    yield tmp_path
    hooks.uninstall()
    guard.forget()
    for name in [name for name in sys.modules if name.startswith("hooked_")]:
        del sys.modules[name]


def test_a_hook_runs_once_the_module_has_run(place):
    (place / "hooked_one.py").write_text("value = 1\nlast = True\n")
    seen = []
    hooks.when_imported("hooked_one", lambda module: seen.append((module.value, module.last)))
    assert seen == []
    module = importlib.import_module("hooked_one")
    assert seen == [(1, True)]
    assert type(module.__loader__) is SourceFileLoader
    assert vars(module.__loader__) == vars(SourceFileLoader("hooked_one", str(place / "hooked_one.py")))
    assert module.__spec__.loader is module.__loader__
    importlib.reload(module)
    assert seen == [(1, True)] * 2


def test_a_hook_for_a_loaded_module_runs_at_once(place):
    seen = []
    hooks.when_imported("json", seen.append)
    assert [module.__name__ for module in seen] == ["json"]


def test_a_hook_that_fails_is_told_and_the_import_succeeds(place, capsys):
    (place / "hooked_two.py").write_text("value = 2\n")
    hooks.when_imported("hooked_two", lambda module: module.nothing)
    before = guard.counted()
    assert importlib.import_module("hooked_two").value == 2
    assert guard.counted() == before + 1


def test_a_module_that_fails_fails_as_ever_and_may_be_tried_again(place):
    file = place / "hooked_three.py"
    file.write_text("raise LookupError('own')\n")
    seen = []
    hooks.when_imported("hooked_three", seen.append)
    with pytest.raises(LookupError, match="own"):
        importlib.import_module("hooked_three")
    assert seen == []
    file.write_text("value = 'the second time'\n")
    importlib.invalidate_caches()
    assert importlib.import_module("hooked_three").value == "the second time"
    assert len(seen) == 1


def test_a_missing_module_is_missing_as_ever(place):
    hooks.when_imported("hooked_missing", print)
    with pytest.raises(ModuleNotFoundError, match="hooked_missing"):
        importlib.import_module("hooked_missing")


def test_the_finder_stands_once_and_can_go(place):
    hooks.install()
    assert sum(isinstance(finder, hooks.Finder) for finder in sys.meta_path) == 1
    hooks.uninstall()
    assert not any(isinstance(finder, hooks.Finder) for finder in sys.meta_path)
