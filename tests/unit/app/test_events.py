"""Lines for the flight recorder: what comes again takes a short way to the ring and must read the same there."""

import pytest

import roadworthy as rw
from roadworthy import _known
from roadworthy.app import context, events, guard
from roadworthy.arena.layout import H_EVENTS_LOST
from roadworthy.arena.writer import Arena


def new(seen):
    return [(found.kind, found.level, found.source, found.text, dict(found.fields)) for found in seen.events()]


@pytest.mark.parametrize(
    ("text", "options", "kept"),
    [
        ("door opened", {}, ("state", 20, "", "door opened", {})),
        ("door opened", {"source": "hall"}, ("state", 20, "hall", "door opened", {})),
        ("door opened", {"source": "hall", "level": "error"}, ("state", 40, "hall", "door opened", {})),
        ("door opened", {"kind": "usage"}, ("usage", 20, "", "door opened", {})),
        ("door opened", {"kind": "?", "level": "LOUD"}, ("state", 20, "", "door opened", {})),
        ("password=hunter2 said", {}, ("state", 20, "", "password=[redacted] said", {})),
        ("a\x1fb=c", {"source": "x\x1fy"}, ("state", 20, "x\\x1fy", "a\\x1fb=c", {})),
        (["no", "text"], {}, ("state", 20, "", "['no', 'text']", {})),
        ("door opened", {"source": "hall", "by": "me"}, ("state", 20, "hall", "door opened", {"by": "me"})),
    ],
)
def test_an_event_that_comes_again_reads_as_it_did_at_first(seen, text, options, kept):
    for _ in range(3):
        rw.event(text, **options)
    assert new(seen) == [kept] * 3


def test_texts_without_end_take_bounded_memory(seen):
    for number in range(3 * events.MOST):
        rw.event(f"door {number}", source=f"hall {number % 7}")
    sources = [texts for kinds in events._ready.values() for found in kinds.values() for texts in found.values()]
    assert 0 < sum(map(len, sources)) <= events.MOST
    assert new(seen)[-1][3] == f"door {3 * events.MOST - 1}"


def test_a_signal_handler_that_raises_in_the_short_way_leaves_no_slot_half_written(seen, monkeypatch, tmp_path):
    rw.event("door opened", source="hall")
    arena = Arena.create(tmp_path, "test")

    class Interrupting:
        """The file's bytes, while a handler of the program's raises as they are written."""

        def __setitem__(self, place, value):
            raise Interrupted

    for name, value in {"_ring": arena.ring, "_cell": arena.cell, "_base": arena.ring._base}.items():
        monkeypatch.setattr(events, name, value)
    monkeypatch.setattr(events, "_mask", arena.ring._mask)
    monkeypatch.setattr(guard, "failed", lambda *_: True)
    with monkeypatch.context() as during:
        during.setattr(arena.cell, "b", Interrupting())
        with pytest.raises(Interrupted):
            rw.event("door opened", source="hall")
    rw.event("door opened", source="hall")
    q, base = arena.cell.q, arena.ring._base
    assert [q[base], q[base + 64], q[H_EVENTS_LOST]] == [0, 2, 1]


class Interrupted(Exception):
    """What a signal handler of the program raises."""


def test_an_event_that_does_not_fit_one_slot_takes_several_each_time(seen):
    text = "open " * 300
    for _ in range(3):
        rw.event(text[:1500], source="hall")
    assert [found[3] for found in new(seen)] == [text[:1500]] * 3


def test_what_becomes_known_as_a_secret_is_taken_out_of_a_line_that_was_remembered(seen):
    for _ in range(2):
        rw.event("the word is xyzzy-plugh-9", source="cave")
    _known.add("xyzzy-plugh-9")
    try:
        rw.event("the word is xyzzy-plugh-9", source="cave")
    finally:
        _known.forget()
    texts = [found[3] for found in new(seen)]
    assert texts[:2] == ["the word is xyzzy-plugh-9"] * 2
    assert "xyzzy" not in texts[2]


def test_what_becomes_known_as_a_secret_while_a_line_is_redacted_is_not_remembered_in_it(seen, monkeypatch):
    line = context.line

    def slowly(text):
        made = line(text)
        _known.add("frobozz-plugh-7")  # another thread, just then
        return made

    with monkeypatch.context() as during:
        during.setattr(context, "line", slowly)
        rw.event("the word is frobozz-plugh-7", source="cave")
    rw.event("the word is frobozz-plugh-7", source="cave")
    first, second = [found[3] for found in new(seen)]
    assert first.endswith("frobozz-plugh-7")
    assert "frobozz" not in second


@pytest.mark.parametrize(
    ("remember", "text"), [(context.line, "a line with xyzzy-12345"), (context.label_value, "a label with xyzzy-12345")]
)
def test_nor_in_a_text_of_a_label_or_a_line(monkeypatch, remember, text):
    with monkeypatch.context() as during:

        def redact(value):
            _known.add("xyzzy-12345")
            return value

        during.setattr(context, "redact", redact)
        assert remember(text) == text
    assert "xyzzy" not in remember(text)
