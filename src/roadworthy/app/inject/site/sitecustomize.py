"""Brings roadworthy into a Python program that `roadworthy run` started, then runs the program's own sitecustomize.

The interpreter finds this file because its folder, which holds nothing else, is on PYTHONPATH. It is read by whatever
interpreter the program uses, so it is written in the language that Python 2.7 and 3.6 share with today's. Below 3.11 it
says why it declines, in the arena directory, and does nothing more. Whatever happens in here, the program starts.
"""

# ruff: noqa: ANN001, ANN202 - the language of 2.7 has type comments only

import os
import sys

MOST_NOTES = 32


def _step_aside():  # type: () -> None
    """Take our folder off sys.path; the environment keeps it, so that Python children find it too."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    sys.path_importer_cache.pop(here, None)


def _decline(why):  # type: (str) -> None
    """Leave a note for the agent; at most MOST_NOTES of them lie around at a time."""
    folder = os.environ.get("ROADWORTHY_ARENA_DIR", "")
    if not folder or sum(name.startswith("declined-") for name in os.listdir(folder)) >= MOST_NOTES:
        return
    import json

    with open("/proc/self/stat", "rb") as stat:
        ticks = int(stat.read().rpartition(b")")[2].split()[19])
    note = {"pid": os.getpid(), "start_ticks": ticks, "reason": why, "python": sys.version.split()[0]}
    path = os.path.join(folder, "declined-%d.json" % os.getpid())
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        os.write(descriptor, json.dumps(note).encode("ascii"))
    finally:
        os.close(descriptor)


def _load(package):  # type: (str) -> None
    """Load roadworthy from where it lies, without putting anything on sys.path, and start it."""
    from _frozen_importlib import ModuleSpec  # what importlib.machinery shows, which would import warnings too
    from _frozen_importlib_external import SourceFileLoader

    path = os.path.join(package, "__init__.py")
    loader = SourceFileLoader("roadworthy", path)
    spec = ModuleSpec("roadworthy", loader, origin=path, is_package=True)
    spec.submodule_search_locations = [package]
    spec.has_location = True
    module = type(sys)("roadworthy")
    module.__spec__, module.__loader__, module.__file__ = spec, loader, path
    module.__path__, module.__package__ = [package], "roadworthy"
    sys.modules["roadworthy"] = module
    try:
        loader.exec_module(module)
        from roadworthy.app.inject.boot import boot

        boot()
    except BaseException:
        for name in [name for name in sys.modules if name.partition(".")[0] == "roadworthy"]:
            del sys.modules[name]
        raise


def _begin():  # type: () -> None
    """Bring the runtime up where it was asked for and is possible."""
    package = os.environ.get("ROADWORTHY_INJECT", "")
    off = os.environ.get("ROADWORTHY_ENABLED", "1").strip().lower() in ("0", "false", "no", "off")
    if not package or off or "ROADWORTHY_KEEPER_FD" in os.environ or not os.environ.get("ROADWORTHY_ARENA_DIR"):
        return
    if sys.version_info < (3, 11):
        _decline("Python %d.%d is older than 3.11" % tuple(sys.version_info[:2]))
    elif sys.implementation.name != "cpython":
        _decline("the interpreter is " + sys.implementation.name + ", not cpython")
    else:
        _load(package)


def _next_one():  # type: () -> bool
    """Run the program's own sitecustomize as if ours had not been there; return False when it has none."""
    if sys.version_info[0] < 3:
        import imp

        try:
            found = imp.find_module("sitecustomize")
        except ImportError:
            return False
        imp.load_module("sitecustomize", *found)
        return True
    try:
        from _frozen_importlib_external import PathFinder
    except ImportError:
        from importlib.machinery import PathFinder

    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None:
        return False
    module = type(sys)("sitecustomize")
    module.__spec__, module.__loader__ = spec, spec.loader
    module.__file__, module.__package__ = spec.origin, ""
    if getattr(spec, "cached", None):
        module.__dict__["__cached__"] = spec.cached
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)
    return True


def _enter():  # type: () -> None
    """Do our part; a failure of ours is one line on standard error and nothing else."""
    try:
        try:
            _begin()
        finally:
            _step_aside()
    except Exception as error:
        try:
            text = "roadworthy: not watching this process (%s: %s). Your program is fine.\n"
            sys.stderr.write(text % (type(error).__name__, str(error).replace("\n", " ")[:300]))
        except Exception:
            pass


_enter()
if not _next_one():
    # What the interpreter expects of a program without a sitecustomize; it passes over this in silence.
    raise ImportError(
        "No module named 'sitecustomize'", **({"name": "sitecustomize"} if sys.version_info[0] > 2 else {})
    )
