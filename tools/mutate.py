"""Change one thing in a module, run its tests, see whether they notice; again and again. Prints the share they noticed.

    python tools/mutate.py --core
    python tools/mutate.py --core states retry:140
    python tools/mutate.py --seconds 400 --tests tests/unit/resilience -- breaker states window retry budget

A change ("mutant") that no test notices is a line that could be wrong without anybody knowing. Modules are those of
``roadworthy.resilience``, or dotted names; ``:140`` leaves only the mutants of that line. One interpreter loads pytest
and everything else once and forks for each mutant, so that one costs little more than its tests; nothing on disk is
changed. Mutants are drawn at random, evenly over the modules, until the time is up; ``--seed`` draws the same again,
and ``--list`` only shows them.

``--core`` takes modules and tests from ``mutate_core.toml`` beside this file: each module against the few quick files
that are about it, every mutant once. Named there are also the mutants that change nothing anybody could see, each with
the reason; they are counted apart.

What is changed: comparisons (< to <=, == to !=, ...), arithmetic and bit operators, ``and``/``or``, ``not``, numbers
(by one), True/False, conditions (always, never), and returned values (to None). What is not: docstrings, annotations,
``TYPE_CHECKING`` blocks, messages, ``__slots__``, ``__repr__`` and ``describe``.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import os
import random
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parents[1]
CORE = Path(__file__).with_name("mutate_core.toml")
KILLED, SURVIVED, TIMEOUT, SAME = "killed", "survived", "timeout", "same"

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATE: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Add,
    ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
_LEFT_OUT = {"__repr__", "describe", "__str__", "shown", "_name"}


class Mutant(NamedTuple):
    """One change: where it is and what it does to the tree in place."""

    module: str
    line: int
    what: str
    number: int


Change = tuple[str, Callable[[], None]]


def changes(tree: ast.Module) -> Iterator[tuple[int, str, Callable[[], None]]]:
    """Yield each possible change of ``tree`` as line, words, and what makes it."""
    for node in _living(tree):
        for what, change in [*_operators(node), *_values(node)]:
            yield getattr(node, "lineno", 0), what, change


def _operators(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            other = _COMPARE[type(operator)]
            yield f"{type(operator).__name__} -> {other.__name__}", _put(node.ops, index, other())
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _OPERATE:
        other_op = _OPERATE[type(node.op)]
        yield f"{type(node.op).__name__} -> {other_op.__name__}", _set(node, "op", other_op())
    elif isinstance(node, ast.BoolOp):
        swapped = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"{type(node.op).__name__} -> {type(swapped).__name__}", _set(node, "op", swapped)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "Not dropped", _set(node, "operand", ast.UnaryOp(ast.Not(), node.operand))
    elif isinstance(node, ast.UnaryOp):
        yield f"{type(node.op).__name__} dropped", _set(node, "op", ast.UAdd())


def _values(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", _set(node, "value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield f"{node.value} -> {node.value + 1}", _set(node, "value", node.value + 1)
    elif isinstance(node, (ast.If, ast.IfExp)):
        for value in (True, False):
            yield f"condition -> {value}", _set(node, "test", ast.Constant(value))
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "returns None", _set(node, "value", ast.Constant(None))


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _put(items: list[ast.cmpop], index: int, value: ast.cmpop) -> Callable[[], None]:
    def change() -> None:
        items[index] = value

    return change


def _set(node: ast.AST, name: str, value: object) -> Callable[[], None]:
    def change() -> None:
        setattr(node, name, value)

    return change


def _living(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes that can matter, in a fixed order."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        yield node
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "decorator_list", "type_params"}:
                continue
            below = reversed(value if isinstance(value, list) else [value])
            stack.extend(child for child in below if isinstance(child, ast.AST) and not _is_left_out(child))


def _is_left_out(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise):  # messages; that something is raised is a condition's business
        return True
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name in _LEFT_OUT:
        return True
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.Assign):
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        return bool(names & {"__slots__", "TYPE_CHECKING", "__all__"})
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def source_of(module: str) -> tuple[Path, str]:
    """Return path and text of a module without importing it."""
    path = (ROOT / "src").joinpath(*module.split(".")).with_suffix(".py")
    return path, path.read_text(encoding="utf-8")


def all_of(module: str) -> list[Mutant]:
    """Return every mutant of a module."""
    tree = ast.parse(source_of(module)[1])
    return [Mutant(module, line, what, number) for number, (line, what, _) in enumerate(changes(tree))]


def mutated(mutant: Mutant) -> CodeType:
    """Return the code of the module with that one change."""
    path, text = source_of(mutant.module)
    tree = ast.parse(text)
    for number, (_, _, change) in enumerate(changes(tree)):
        if number == mutant.number:
            change()
            break
    return compile(ast.fix_missing_locations(tree), str(path), "exec")


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the changed module in the place of the one on disk."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """Return how to load the one module."""
        del path, target
        if name != self.mutant.module:
            return None
        return importlib.util.spec_from_loader(name, self, origin=str(source_of(name)[0]))

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed code."""
        exec(mutated(self.mutant), vars(module))  # noqa: S102 - that is what it is for


def _started(mutant: Mutant | None, tests: list[str]) -> int:
    """Begin to run the tests in a child with that change and return its pid."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    if mutant is not None:
        sys.meta_path.insert(0, Finder(mutant))
    import pytest

    # Plain asserts: what failed is not looked at, and to rewrite the tests takes longer than to run them.
    options = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", "--timeout=0"]
    try:
        code = int(pytest.main([*options, *tests]))
    except BaseException:  # noqa: BLE001 - a mutant may do anything; that is noticed
        code = 1
    os._exit(code)


def _ended(pid: int, deadline: float) -> str | None:
    """Tell what came of a child; None when it still runs and may."""
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        return SURVIVED if status == 0 else KILLED
    if time.monotonic() < deadline:
        return None
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return TIMEOUT


def tried(mutants: Iterable[tuple[Mutant | None, list[str], float]], jobs: int) -> Iterator[tuple[Mutant | None, str]]:
    """Yield what came of each, ``jobs`` at once; given with each: its tests, and the seconds that they may take."""
    running: dict[int, tuple[Mutant | None, float]] = {}
    left = iter(mutants)
    more = True
    while more or running:
        while more and len(running) < jobs:
            taken = next(left, None)
            more = taken is not None
            if taken is not None:
                running[_started(taken[0], taken[1])] = taken[0], time.monotonic() + taken[2]
        for pid, (mutant, deadline) in list(running.items()):
            result = _ended(pid, deadline)
            if result is not None:
                del running[pid]
                yield mutant, result
        time.sleep(0.01)


class Core(NamedTuple):
    """What ``mutate_core.toml`` says: the tests of each module, and why a mutant of it changes nothing."""

    tests: dict[str, list[str]]
    same: dict[tuple[str, str, str], str]

    @classmethod
    def read(cls) -> Core:
        """Read the file; raises what tomllib does."""
        tests: dict[str, list[str]] = {}
        same: dict[tuple[str, str, str], str] = {}
        for name, about in tomllib.loads(CORE.read_text(encoding="utf-8")).items():
            tests[name] = [f"tests/unit/resilience/test_{one}.py" for one in about["tests"]]
            for one in about.get("same", ()):
                for what in one["what"]:
                    same[name, one["line"], what] = one["why"]
        return cls(tests, same)

    def stale(self) -> list[str]:
        """Return what is excused and is not in the code any more: it would excuse something else one day."""
        there = {self._key(one) for name in self.tests for one in all_of(f"roadworthy.resilience.{name}")}
        return [f"{name}: {line}: {what}" for name, line, what in self.same if (name, line, what) not in there]

    def why_same(self, mutant: Mutant) -> str | None:
        """Return why this mutant changes nothing; None when nobody has said so."""
        return self.same.get(self._key(mutant))

    @staticmethod
    def _key(mutant: Mutant) -> tuple[str, str, str]:
        line = linecache.getline(str(source_of(mutant.module)[0]), mutant.line).strip()
        return mutant.module.rpartition(".")[2], line, mutant.what


def main() -> int:
    """Draw, try, count; exit 1 when the tests fail without any change, or when a mutant of the core survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--core", action="store_true", help="the resilience core, or these modules of it")
    parser.add_argument("--tests", action="append", help="what pytest is given; may be repeated")
    parser.add_argument("--seconds", type=float, help="stop after that long; by default 400, and never with --core")
    parser.add_argument("--jobs", type=int, default=2, help="how many mutants are tried at once")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--list", action="store_true", help="show the mutants and stop")
    given = parser.parse_args()
    core = Core.read() if given.core else Core({}, {})
    if not (given.modules or given.core) or not (given.tests or given.core or given.list):
        parser.error("give --core, or modules and their --tests")
    if core.stale():
        print(f"{CORE.name} excuses what is not there:", *core.stale(), sep="\n")
        return 1
    drawn: dict[str, list[Mutant]] = {}
    for name in given.modules or core.tests:
        plain, _, line = name.partition(":")
        module = plain if "." in plain else f"roadworthy.resilience.{plain}"
        drawn.setdefault(module, []).extend(one for one in all_of(module) if line in {"", str(one.line)})
    if given.list:
        for found in drawn.values():
            print(*(f"{one.module.rpartition('.')[2]}:{one.line}: {one.what}" for one in found), sep="\n")
        return 0
    tests = {module: given.tests or core.tests[module.rpartition(".")[2]] for module in drawn}
    chance = random.Random(given.seed)  # noqa: S311 - a sample
    for found in drawn.values():
        chance.shuffle(found)
    sys.path[:0] = [str(ROOT / "src")]
    os.chdir(ROOT)
    _load()
    limits: dict[str, float] = {}
    for module, found in drawn.items():
        began = time.monotonic()
        if [result for _, result in tried([(None, tests[module], 600.0)], 1)] != [SURVIVED]:
            print(f"the tests of {module} fail without any change")
            return 1
        whole = time.monotonic() - began
        limits[module] = 3 * whole + 10
        print(f"{module}: {len(found)} mutants; its tests take {whole:.1f} s", flush=True)
    seconds = given.seconds or (float("inf") if given.core else 400.0)
    return _counted(drawn, tests, limits, core, seconds=seconds, jobs=given.jobs)


def _counted(
    drawn: dict[str, list[Mutant]],
    tests: dict[str, list[str]],
    limits: dict[str, float],
    core: Core,
    *,
    seconds: float,
    jobs: int,
) -> int:
    """Try the mutants, tell what came of them, and return the exit code."""
    end = time.monotonic() + seconds
    begun = dict.fromkeys(drawn, 0)
    results: dict[str, list[str]] = {module: [] for module in drawn}

    def in_turn() -> Iterator[tuple[Mutant, list[str], float]]:
        while time.monotonic() < end and any(drawn.values()):
            module = min((name for name in drawn if drawn[name]), key=lambda name: begun[name])
            begun[module] += 1
            yield drawn[module].pop(), tests[module], limits[module]

    for mutant, result in tried(in_turn(), jobs):
        if mutant is None:
            continue
        why = core.why_same(mutant) if result == SURVIVED else None
        results[mutant.module].append(SAME if why else result)
        if result == SURVIVED and not why:
            print(f"survived: {mutant.module.rpartition('.')[2]}.py:{mutant.line}: {mutant.what}", flush=True)
    results["all"] = [one for seen in results.values() for one in seen]
    for module, seen in results.items():
        hung, same, left = seen.count(TIMEOUT), seen.count(SAME), len(drawn.get(module, ()))
        changed = len(seen) - same
        noticed = changed - seen.count(SURVIVED)
        share = f"{noticed / changed:.1%}" if changed else "none tried"
        print(
            f"{module}: {len(seen)} tried, {same} change nothing, {noticed} of the other {changed} noticed"
            f" ({share}; {hung} by hanging), {left} not tried"
        )
    return 1 if core.tests and SURVIVED in results["all"] else 0


def _load() -> None:
    """Load what each child needs and does not change: forking is then all that a mutant costs before its tests."""
    import asyncio
    import concurrent.futures.thread
    import importlib.metadata
    import tempfile

    import hypothesis.configuration
    import hypothesis.stateful
    import pytest

    # What is compiled once is there for all children, and is not kept.
    sys.pycache_prefix = tempfile.mkdtemp(prefix="mutate-")
    sys.dont_write_bytecode = False
    # Examples that fail because of a mutant are none to be tried again without it.
    hypothesis.configuration.set_hypothesis_home_dir(sys.pycache_prefix)
    for plugin in importlib.metadata.entry_points(group="pytest11"):
        plugin.load()
    loaded = [name for name in sys.modules if name.startswith("roadworthy")]
    if loaded:  # a module that is there already would not be changed
        message = f"loaded before there is a mutant: {loaded}"
        raise RuntimeError(message)
    del asyncio, concurrent, pytest


if __name__ == "__main__":
    sys.exit(main())
