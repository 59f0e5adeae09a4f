from __future__ import annotations

import json
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from roadworthy.config.positions import json_lines, toml_lines

TOML = '''\
# a = 0
a = 1 # b = 2
"b c".d = """
x = 3
"""
e.f = [
  1, # one
  { g = 2, h = "}" },
]

[i.j]
k = \'\'\'
l = 4\'\'\'
m = { n = 1, o = [ "]", 2 ] }
p = 1979-05-27T07:32:00Z

[[q]]
r = 1
[[q]]
r = 2
[q.s]
t = 3
'''


def leaves(tree, path=()):
    found = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for name, value in found:
        yield (*path, name)
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, name))


def test_every_key_of_a_toml_file_has_its_line():
    lines = toml_lines(TOML)
    assert {path: lines[path] for path in lines if path[0] in {"a", "b c", "e", "i"}} == {
        ("a",): 2, ("b c", "d"): 3, ("e", "f"): 6, ("e", "f", 0): 7, ("e", "f", 1): 8, ("e", "f", 1, "g"): 8,
        ("e", "f", 1, "h"): 8, ("i", "j"): 11, ("i", "j", "k"): 12, ("i", "j", "m"): 14, ("i", "j", "m", "n"): 14,
        ("i", "j", "m", "o"): 14, ("i", "j", "m", "o", 0): 14, ("i", "j", "m", "o", 1): 14, ("i", "j", "p"): 15,
    }  # fmt: skip
    assert [lines["q", 0, "r"], lines["q", 1, "r"], lines["q", 1, "s", "t"]] == [18, 20, 22]
    wanted = {path for path in leaves(tomllib.loads(TOML)) if path not in {("b c",), ("e",), ("i",), ("q",)}}
    assert wanted - lines.keys() == set()


names = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=4)
scalars = st.integers() | st.booleans() | st.text(st.characters(codec="ascii", exclude_characters="\x7f"), max_size=8)
trees = st.dictionaries(
    names, st.recursive(scalars, lambda inner: st.dictionaries(names, inner, max_size=3)), max_size=4
)


@given(trees)
def test_lines_of_json_are_those_of_the_text(tree):
    text = json.dumps(tree, indent=2)
    lines, rows = json_lines(text), text.split("\n")
    for path in leaves(tree):
        assert rows[lines[path] - 1].lstrip().startswith(json.dumps(path[-1])), path


@given(trees)
def test_lines_of_dotted_toml_keys_are_those_of_the_text(tree):
    flat = [(path, value) for path, value in pairs(tree)]
    text = "\n".join(f"{'.'.join(path)} = {json.dumps(value)}" for path, value in flat)
    assert tomllib.loads(text) is not None
    lines = toml_lines(text)
    assert [lines[path] for path, _ in flat] == list(range(1, len(flat) + 1))


def pairs(tree, path=()):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from pairs(value, (*path, name))
        else:
            yield (*path, name), value


@given(st.text())
def test_no_text_makes_them_raise(text):
    try:
        tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    toml_lines(text)
