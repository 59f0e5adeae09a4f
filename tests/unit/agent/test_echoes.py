"""Lines that a logging handler printed are not shown beside the records that they are."""

from __future__ import annotations

import pytest

from roadworthy.agent.echoes import MOST, WITHIN, Echoes
from roadworthy.types import Event, EventKind


def record(text, slot=0, kind=EventKind.LOG, **more):
    return Event(kind, 1.0, "info", "app", text, 7, slot, **more)


def line(text, slot=0, stream="stderr"):
    return Event(EventKind.OUTPUT, 1.0, "warning", stream, text, 7, slot)


def shown(records, lines, *, heard=10.0, now=10.0):
    echoes = Echoes()
    echoes.hear(heard, records)
    echoes.hear(now, [])
    return [one.text for one in echoes.without(lines)]


@pytest.mark.parametrize(
    ("said", "printed", "left"),
    [
        ("order 7 taken", "2026-11-21 10:00:00 INFO app: order 7 taken", False),
        ("order 7 taken", "order 7 taken", False),
        ("order 7 taken", "order 7 taken  ", False),
        ("order 7 taken", "reorder 7 taken", True),
        ("order 7 taken", "INFO order 7 taken twice", True),
        ("ok", "INFO:app:ok", False),
        ("ok", "it broke", True),
        ("ok", "look", True),
        ("[x]", "app[x]", False),
        ("", "INFO:app:", True),
        ("line one\nline two", "ERROR line one", False),
        ("line one\nline two", "line two", False),
        ("über", "WARN über", False),
        ("a text longer than the tail of 16", "I a text longer than the tail of 16", False),
        ("one longer than the tail of 16", "I a text longer than the tail of 16", True),
    ],
)
def test_a_line_that_ends_with_a_record_is_left_out(said, printed, left):
    assert shown([record(said)], [line(printed)]) == ([printed] if left else [])


JSON = '{"@timestamp":"2026-11-30T01:52:06.303Z","severity":"INFO","logger":"shop","message":"order 7 taken","n":1}'
CONSOLE = "2026-11-30T01:52:06.303Z INFO     shop: "


@pytest.mark.parametrize(
    ("said", "printed", "left"),
    [
        ("order 7 taken", JSON, False),
        ("order 8 taken", JSON, True),
        ("order 7 taken", JSON[:-1], True),
        ("order 7 taken", '{"@timestamp":"' + "[" * 3_000, True),
        ("order 7 taken", f"{CONSOLE}order 7 taken", False),
        ("order 7 taken", f'{CONSOLE}order 7 taken n=1 said="a \\"b\\" c=d" request_id=r1', False),
        ("order id=7", f"{CONSOLE}order id=7", False),
        ("order id=7", f"{CONSOLE}order id=7 n=1", False),
        ("order 7 taken", f"{CONSOLE}order 7 taken back n=1", True),
        ("order 7 taken", "order 7 taken n=1", True),
        ("order 7 taken", f"{CONSOLE}order 7 taken" + " n=1" * 40, True),
    ],
)
def test_of_an_entry_of_ours_the_message_is_compared(said, printed, left):
    assert shown([record(said)], [line(printed)]) == ([printed] if left else [])


def test_the_stack_of_an_entry_goes_with_it_and_no_other():
    lines = [
        line(f"{CONSOLE}it broke error=x"),
        line("    | Traceback"),
        line("    | other", stream="stdout"),
        line("x"),
    ]
    assert shown([record("it broke")], [*lines, line("    | late")]) == ["    | other", "x", "    | late"]


def test_another_workers_record_explains_nothing():
    assert shown([record("taken", slot=1)], [line("INFO taken", slot=0)]) == ["INFO taken"]


def test_a_record_explains_one_line_in_each_stream():
    lines = [line("I taken"), line("I taken"), line("I taken", stream="stdout")]
    assert shown([record("taken")], lines) == ["I taken"]
    assert shown([record("taken"), record("taken")], lines) == []


@pytest.mark.parametrize(("later", "left"), [(0.0, 0), (WITHIN - 0.1, 0), (WITHIN + 0.1, 1)])
def test_a_record_is_forgotten_after_two_seconds(later, left):
    assert len(shown([record("taken")], [line("I taken")], now=10.0 + later)) == left


def test_errors_and_torn_records_explain_nothing():
    records = [record("taken", kind=EventKind.ERROR), record("taken", torn=True)]
    assert shown(records, [line("I taken")]) == ["I taken"]


def test_memory_is_bounded_and_the_newest_are_kept():
    echoes = Echoes()
    echoes.hear(1.0, (record(f"number {number}") for number in range(MOST + 5)))
    assert [one.text for one in echoes.without([line("number 0"), line(f"number {MOST + 4}")])] == ["number 0"]
    echoes.hear(1.0 + 2 * WITHIN, [])
    assert (echoes._said, echoes._by_tail, echoes._lengths) == (type(echoes._said)(), {}, {})
