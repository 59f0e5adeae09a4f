from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy import _known
from roadworthy.config.dotenv import parse, quoted, scan
from roadworthy.config.secrets import open_backend
from roadworthy.log.redact import known

READ = [
    ("A=1", {"A": "1"}),
    ("  export A = 1  ", {"A": "1"}),
    ("A=", {"A": ""}),
    ("A=  # nothing", {"A": ""}),
    ("A=1 # one", {"A": "1"}),
    ("A=a#b", {"A": "a#b"}),
    ("# A=1\n\nB=2\r\nC=3", {"B": "2", "C": "3"}),
    ("A=1\nA=2", {"A": "2"}),
    ("A='x # $y \\n'", {"A": "x # $y \\n"}),
    ('A="x\\ty\\\\n \\"z\\" \\$HOME" # said', {"A": 'x\ty\\n "z" $HOME'}),
    ('A="one\ntwo"\nB=3', {"A": "one\ntwo", "B": "3"}),
    ("A='one\n\ntwo'\nB=3", {"A": "one\n\ntwo", "B": "3"}),
    ("\ufeffA=1", {"A": "1"}),
    ("A=$HOME", {"A": "$HOME"}),
    ('A="\\q"', {"A": "\\q"}),
    ("monitoring.enabled=false", {"monitoring.enabled": "false"}),
    ('A="one\r\ntwo"\r\nB=3', {"A": "one\ntwo", "B": "3"}),
    ("A=\t'1'\t#2\n \t\nB.b-c=a\\nb", {"A": "1", "B.b-c": "a\\nb"}),
    ("A=1'2'", {"A": "1'2'"}),
]


@pytest.mark.parametrize(("text", "found"), READ)
def test_a_file_is_read_as_shells_and_compose_write_it(text, found):
    parsed = parse(text)
    assert parsed.errors == ()
    assert {name: entry.value for name, entry in parsed.entries.items()} == found


@pytest.mark.parametrize(("text", "found"), READ)
def test_settings_secrets_and_redaction_read_a_file_alike(tmp_path, monkeypatch, text, found):
    path = tmp_path / ".env"
    path.write_bytes(text.encode())
    path.chmod(0o600)
    learnt = []
    monkeypatch.setattr(known, "learn", learnt.append)
    known.learn_file(str(path))
    backend = open_backend({}, kind="dotenv", folder=tmp_path)
    assert learnt == [found]
    assert backend.names() == tuple(sorted(name for name, value in found.items() if value))
    assert {name: backend.get(name).reveal() for name in backend.names()} == {k: v for k, v in found.items() if v}


def test_of_a_file_that_cannot_be_understood_all_values_that_may_be_meant_are_taken_out_of_texts(tmp_path):
    path = tmp_path / ".env"
    path.write_text("- API_KEY='vQ81-plainly'\nA=1\nexport B_TOKEN='open81-x\nC_SECRET=within81-y\n")
    known.learn_file(str(path))
    assert {"vQ81-plainly", "open81-x", "within81-y"} <= set(_known.values)


@given(st.text(st.sampled_from("A=\"'# \\n\n\r$export\t")))
def test_nothing_of_a_file_is_lost_while_it_is_read(text):
    assert "".join(line.raw for line in scan(text)) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [("A=1\nnonsense", 2), ("\n=1", 2), ("A=1\nB='open\nstill\n", 2), ("A='x' y", 1), ("1A=2", 1), ("- A=1", 1)],
)
def test_what_is_not_understood_is_an_error_with_its_line_and_without_the_value(text, line):
    ((where, what),) = parse(text).errors
    assert where == line
    assert "open" not in what


def test_all_errors_are_told_and_the_rest_is_read():
    parsed = parse("x\nA=1\ny\nB='2' c")
    assert [line for line, _ in parsed.errors] == [1, 3, 4]
    assert parsed.entries["A"].value == "1"


def test_an_entry_knows_its_line():
    parsed = parse("# c\nA='1\n2'\n\nB=3")
    assert {name: entry.line for name, entry in parsed.entries.items()} == {"A": 2, "B": 5}


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_what_is_written_is_read_back(value):
    parsed = parse(f"A={quoted(value)}\nB=1\n")
    assert parsed.errors == ()
    assert parsed.entries["A"].value == value
    assert parsed.entries["B"].value == "1"


@given(st.text())
def test_no_text_makes_it_raise(text):
    parse(text)
