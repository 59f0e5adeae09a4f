"""Every text of the corpus through every recorder of the runtime and through the agent: nothing comes through."""

from __future__ import annotations

import json
import logging
import re

import pytest

import roadworthy as rw
from roadworthy import _known
from roadworthy.agent.lastwords import LastWords, bundle
from roadworthy.agent.output import MOST_LINE, Output
from roadworthy.app import context
from roadworthy.app.integrations import logs, series
from roadworthy.log.redact import redact
from roadworthy.log.redact.stream import MOST, Lines
from roadworthy.testing import recording
from unit.log.corpus import formats, leaks

PLANTED = {name: leaks.planted(text) for name, text in leaks.CASES.items()}
PLANTED |= {name: f"using {formats.tokens(name, 1)[0]} now" for name in formats.FORMATS}


def secret_of(name):
    return leaks.SECRET if name in leaks.CASES else formats.core(formats.tokens(name, 1)[0])


@pytest.fixture
def seen():
    with recording() as recorded:
        series.forget()
        yield recorded
        series.forget()


def record_of(message, *arguments, error=None):
    info = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord("shop", logging.ERROR, "shop.py", 1, message, arguments, info)


def raised(text):
    try:
        try:
            {}[text]
        except KeyError as error:
            raise RuntimeError(text) from error
    except RuntimeError as error:
        return error


def texts_of(seen):
    return "\n".join(f"{found.source} {found.text} {dict(found.fields)}" for found in seen.events())


@pytest.mark.parametrize("name", PLANTED)
def test_no_recorder_keeps_a_planted_secret(seen, name):
    text, secret = PLANTED[name], secret_of(name)
    logs.note(record_of(text))
    logs.note(record_of("%s", text))
    logs.note(record_of("with %r", {"note": text}))
    logs.note(record_of({"event": text, "note": text}))
    logs.note(record_of("failed", error=raised(text)))
    rw.event(text, source="planted", note=text)
    rw.error(raised(text))
    rw.error("Planted", text, note=text)
    with rw.operation("planted", note=text):
        pass
    kept = texts_of(seen)
    assert len(kept) > 100
    assert secret not in kept
    assert secret not in str(context.labels({"note": text}))
    assert secret not in context.encode({"note": text}).decode()


@pytest.mark.parametrize("name", PLANTED)
def test_neither_output_nor_last_words_show_a_planted_secret(tmp_path, name):
    text, secret = PLANTED[name], secret_of(name)
    output = Output(tmp_path)
    output.read(1.0, [(0, 1, 42)])
    (tmp_path / "out-0-1").write_text(f"before\n{text}\nafter\n", newline="")
    events = output.read(2.0, [(0, 1, 42)])
    assert "after" in [event.text for event in events]
    if "\n" not in text or "PRIVATE KEY" in text:
        assert secret not in "\n".join(event.text for event in events)
    words = bundle(LastWords(1.0, "death", "", 0, 42, events=events, output={"stdout": text}), "demo")
    assert secret not in json.dumps(words["output"], ensure_ascii=False)


def test_a_private_key_that_is_printed_line_by_line_is_taken_out_whole():
    key = formats.tokens("OpenSSH", 1)[0].splitlines()
    lines = Lines()
    found = [lines.redact(line) for line in ["key:", *key, "that was it"]]
    assert found == ["key:", *["[redacted]"] * len(key), "that was it"]


def test_a_private_key_without_an_end_ends_with_the_next_sentence_and_after_so_many_lines():
    lines = Lines()
    assert lines.redact("-----BEGIN PRIVATE KEY-----") == "[redacted]"
    assert lines.redact("Proc-Type: 4,ENCRYPTED") == "[redacted]"
    assert lines.redact("the program goes on") == "the program goes on"
    assert lines.redact("word") == "word"
    lines.redact("-----BEGIN PRIVATE KEY-----")
    assert [lines.redact("word") for _ in range(MOST + 1)][-2:] == ["[redacted]", "word"]


def test_what_follows_the_end_of_a_key_on_its_line_is_shown():
    lines = Lines()
    lines.redact("x -----BEGIN EC PRIVATE KEY-----")
    assert lines.redact("-----END EC PRIVATE KEY----- and more") == "[redacted] and more"


def test_a_long_line_is_redacted_before_it_is_cut(tmp_path):
    output = Output(tmp_path)
    output.read(1.0, [(0, 1, 42)])
    text = "x " * ((MOST_LINE - 20) // 2) + "password=" + leaks.SECRET
    (tmp_path / "out-0-1").write_text(text + "\n")
    (event,) = output.read(2.0, [(0, 1, 42)])
    assert leaks.SECRET[:4] not in event.text
    assert len(event.text) <= MOST_LINE


def test_a_line_without_an_end_is_not_cut_in_a_word(tmp_path):
    output = Output(tmp_path)
    output.read(1.0, [(0, 1, 42)])
    with (tmp_path / "out-0-1").open("w") as file:
        file.write("x " * MOST_LINE + "password=" + leaks.SECRET[:5])
        file.flush()
        first = output.read(2.0, [(0, 1, 42)])
        file.write(leaks.SECRET[5:] + "\n")
    shown = "".join(event.text for event in [*first, *output.read(3.0, [(0, 1, 42)])])
    assert not re.search("hunter|Xq9Zt", shown)


def test_what_a_memory_holds_as_harmless_is_looked_at_again_once_a_value_is_known(seen):
    _known.forget()
    for _ in range(2):
        rw.event("door kingfisher-7 opened")
        assert context.label_value("kingfisher-7") == "kingfisher-7"
    _known.add("kingfisher-7")
    rw.event("door kingfisher-7 opened")
    assert context.label_value("kingfisher-7") == "[redacted]"
    assert [found.text for found in seen.events()][-1] == "door [redacted] opened"
    _known.forget()
    assert redact("kingfisher-7") == "kingfisher-7"
