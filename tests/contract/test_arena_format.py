"""FORMAT.md is the contract, layout.py its numbers, hot.py one of the modules that write by it: they agree."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import roadworthy.arena
from roadworthy.arena import layout
from roadworthy.arena.files import private_memory
from roadworthy.arena.layout import (
    BLOCK_MAX,
    BLOCK_SUM,
    BUCKETS,
    EVENT_BYTES,
    H_INTERNAL,
    H_UNTRACKED,
    Sizes,
    bucket_of,
)

TEXT = Path(roadworthy.arena.__file__).with_name("FORMAT.md").read_text("utf-8")

# A compiled hot path joins this list: the same suite, the same bytes.
IMPLEMENTATIONS = ["roadworthy.arena.hot"]


def section(title):
    return TEXT.split(f"## {title}")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "each"),
    [
        ("Header", layout.HEADER_BYTES),
        ("Series slot", layout.SERIES_BYTES),
        ("Event ring", layout.EVENT_BYTES),
        ("Beats", layout.BEAT_BYTES),
        ("In-flight table", layout.INFLIGHT_BYTES),
        ("Marks", layout.MARK_BYTES),
    ],
)
def test_the_document_names_the_sizes_of_the_code(title, each):
    assert re.match(rf" \({each} bytes", section(title))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((layout.H_MAGIC,), "magic"),
        ((layout.H_VERSION,), f"format version, {layout.VERSION}"),
        ((layout.H_STATE,), "state: 0 being made, 1 live, 2 closed"),
        ((layout.H_SIZE,), "size of this file"),
        ((layout.H_PID,), "pid"),
        ((layout.H_TICKS,), "start ticks"),
        ((layout.H_GENERATION,), "keeper's generation"),
        ((layout.H_SLOT,), "worker slot"),
        ((layout.H_MONO, layout.H_WALL), "made at"),
        ((layout.H_PPID,), "parent pid"),
        ((layout.H_FLAGS,), "flags"),
        ((layout.H_EVENTS, layout.H_EVENTS + 1, layout.H_EVENTS + 2), "event ring"),
        ((layout.H_BEATS, layout.H_BEATS + 1, layout.H_BEATS + 2), "beats"),
        ((layout.H_INFLIGHT, layout.H_INFLIGHT + 1, layout.H_INFLIGHT + 2), "in-flight"),
        ((layout.H_MARKS, layout.H_MARKS + 1, layout.H_MARKS + 2), "marks"),
        ((layout.H_SERIES, layout.H_SERIES + 1, layout.H_SERIES + 2), "series"),
        ((layout.H_BLOCKS, layout.H_BLOCKS + 1, layout.H_BLOCKS + 2), "histogram blocks"),
        ((layout.H_EXTENTS,), "extents"),
        ((layout.H_OVERFLOWED,), "refused by a limit"),
        ((layout.H_INTERNAL,), "internal errors"),
        ((layout.H_EVENTS_LOST,), "events that could not be written"),
        ((layout.H_UNTRACKED,), "no free in-flight slot"),
        ((layout.H_STACK_SIGNAL, layout.H_STACK_FD), "stack dumps"),
        ((layout.H_PYTHON,), "hexversion"),
        ((layout.H_INFO_LENGTH,), "length of the info"),
    ],
)
def test_the_document_names_the_words_of_the_header(words, said):
    rows = dict(re.findall(r"^\| ([\d, ]+) \| (.*?) \|$", section("Header"), re.MULTILINE))
    assert said in rows[", ".join(str(word) for word in words)]


@pytest.mark.parametrize("table", ["EVENT_KINDS", "BEAT_KINDS", "MARK_KINDS", "KINDS", "MERGES"])
def test_the_document_names_every_kind_with_its_number(table):
    for name, number in getattr(layout, table).items():
        shown = name if table != "MARK_KINDS" or name != "began" else "process began"
        assert f"{number} {shown}" in TEXT


def test_a_base_file_is_small():
    assert Sizes().base_bytes < 1.4 * 1024 * 1024


@pytest.fixture(params=IMPLEMENTATIONS)
def hot(request):
    return importlib.import_module(request.param)


@pytest.fixture
def cell(hot):
    memory = private_memory(1 << 20)
    return hot.Cell(memory.q, memory.d, memory.b)


def test_every_implementation_has_the_names(hot):
    for name in ("Cell", "Counter", "Gauge", "Histogram", "Beat", "InFlight", "Ring", "now", "cut"):
        assert hasattr(hot, name)


def test_a_counter_writes_one_double(hot, cell):
    counter = hot.Counter(cell, 1000, 7)
    counter.add()
    counter.add(2.5)
    counter.add(-1)
    assert (counter.number, cell.d[1000], cell.q[H_INTERNAL]) == (7, 3.5, 1)


def test_a_gauge_writes_value_and_stamp(hot, cell):
    before = hot.now()
    hot.Gauge(cell, 1000, 7).set(-2)
    assert cell.d[1000] == -2.0
    assert before <= cell.q[1001] <= hot.now()


@pytest.mark.parametrize("value", [-3, 0, 7, 8, 15, 16, 1000, 2**30, 2**50 - 1, 2**50, 2**80])
def test_a_histogram_writes_bucket_sum_and_maximum(hot, cell, value):
    hot.Histogram(cell, 1000, 7).record(value)
    stored = min(max(value, 0), 2**50 - 1)
    assert cell.q[1000 : 1000 + BUCKETS].tolist().index(1) == bucket_of(value)
    assert (cell.d[1000 + BLOCK_SUM], cell.d[1000 + BLOCK_MAX]) == (stored, stored)


def test_an_operation_under_way_is_five_words_and_its_context(hot, cell):
    table = hot.InFlight(cell, [1032, 1000])
    handle = table.enter(5, -1, b"k=v", 77)
    assert handle == 1000
    assert cell.q[1000:1003].tolist() == [77, 5 | 3 << 32, -1]
    assert cell.b[1000 * 8 + 32 : 1000 * 8 + 35] == b"k=v"
    assert table.enter(6, handle) == 1032
    assert cell.q[1034] == 1000
    assert table.enter(7) == -1
    assert cell.q[H_UNTRACKED] == 1
    table.leave(-1)
    table.leave(handle)
    assert cell.q[1000] == 0
    assert table.enter(8) == 1000


def test_a_short_event_is_one_slot(hot, cell):
    ring = hot.Ring(cell, 1024, 4)
    for _ in range(5):
        ring.put(2, 4, b"source\x1ftext")
    at = 1024 * 8
    assert cell.q[1024] == 5
    assert cell.q[1026] == 2 | 4 << 8 | 1 << 15 | 11 << 19
    assert cell.b[at + 32 : at + 43] == b"source\x1ftext"
    assert [cell.q[1024 + n * EVENT_BYTES // 8] for n in range(1, 4)] == [2, 3, 4]


def test_a_long_event_is_several_slots_joined_by_the_first(hot, cell):
    hot.Ring(cell, 1024, 8).put(1, 2, b"x" * 1000)
    words = [cell.q[1024 + n * 64 : 1028 + n * 64].tolist() for n in range(3)]
    assert [row[0] for row in words] == [1, 2, 3]
    assert [row[2] for row in words] == [
        1 | 2 << 8 | n << 12 | 3 << 15 | size << 19 for n, size in enumerate((480, 480, 40))
    ]
    assert [row[3] for row in words] == [0, 0, 0]


def test_a_writer_that_was_lapped_reserves_again(hot, cell):
    ring = hot.Ring(cell, 1024, 4)
    cell.q[1024] = 9
    ring.put(1, 2, b"late")
    assert cell.q[1024] == 9
    assert cell.q[1024 + 64] == 2


def test_a_beat_counts_and_stamps(hot, cell):
    beat = hot.Beat(cell, 1000)
    beat.beat(5)
    beat.count(3, 6)
    beat.frame_start(7)
    beat.turn(2)
    assert cell.q[1001:1007].tolist() == [6, 4, 0, 0, 7, 2]
    beat.frame_end(8)
    assert cell.q[1001:1007].tolist() == [8, 5, 0, 0, 0, 2]
