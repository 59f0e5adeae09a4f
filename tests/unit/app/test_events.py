"""Lines for the flight recorder: what comes again takes a short way to the ring and must read the same there."""

import pytest

import roadworthy as rw
from roadworthy.app import context


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
    for number in range(3 * context._KEPT):
        rw.event(f"door {number}", source=f"hall {number % 7}")
    assert sum(map(len, context.payloads.values())) <= context._KEPT
    assert new(seen)[-1][3] == f"door {3 * context._KEPT - 1}"
