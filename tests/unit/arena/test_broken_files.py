"""Whatever is in a file, reading it works or says what is wrong."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from roadworthy.arena import files
from roadworthy.arena.layout import (
    H_BEATS,
    H_BLOCKS,
    H_EVENTS,
    H_EXTENTS,
    H_INFO_LENGTH,
    H_SERIES,
    H_STATE,
    H_VERSION,
    INFO_AT,
    VERSION,
    Sizes,
)
from roadworthy.arena.reader import Reader, read, scan
from roadworthy.arena.writer import Arena
from roadworthy.errors import ArenaBroken, ArenaError, ArenaVersion, Exhausted, Refused, Unavailable

SMALL = Sizes(events=16, beats=4, inflight=4, marks=4, series=8, blocks=4)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    directory = tmp_path_factory.mktemp("original")
    arena = Arena.create(directory, "web", sizes=SMALL, info={"command": ["a", "b"]})
    fill(arena)
    arena.close()
    return Path(arena.path)


def fill(arena):
    for n in range(3):
        arena.counter("c", (("n", str(n)),), "1", "help").add(n)
        arena.histogram("h", (("n", str(n)),), "s", scale=1e9).record(n * 1000)
        arena.event("log", 20, "s", "x" * (n * 500), {"a": "b"})
        arena.beat(f"b{n}").beat()
        arena.mark("checkpoint", "m")
    arena.gauge("g")
    arena.inflight.enter(1, arena.inflight.enter(0), b"k=v")


def use(path):
    """Do everything that an agent does with a file."""
    with read(path) as reader:
        for _ in range(2):
            reader.refresh()
            repr(reader.series())
            for dead in (True, False, None):
                reader.events(dead=dead)
                reader.events(5, dead=dead)
            reader.beats()
            reader.marks()
            reader.inflight()
            assert isinstance(reader.info, dict)


def assert_told(path):
    """The file can be used, or the error says which file, why, and what to do."""
    try:
        use(path)
    except ArenaError as error:
        told = error
    else:
        return
    assert str(path) in told.what
    assert told.why
    assert told.hint


def write_word(path, word, value):
    with path.open("r+b") as file:
        file.seek(word * 8)
        file.write(value.to_bytes(8, "little", signed=True))


flips = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=40)
header_words = st.lists(
    st.tuples(st.integers(0, 40), st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 5000)), min_size=1, max_size=6
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=flips, length=st.none() | st.integers(0, 40_000))
@example(flips=[(0, 0)], length=0)
@example(flips=[(0, 82)], length=4095)
def test_flipped_and_missing_bytes_never_crash_a_reader(original, tmp_path, flips, length):
    data = bytearray(original.read_bytes())
    for at, value in flips:
        data[at % len(data)] = value
    path = tmp_path / "00000000-1-1-0.arena"
    path.write_bytes(data[:length])
    assert_told(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=header_words)
def test_lying_headers_never_crash_a_reader(original, tmp_path, words):
    path = tmp_path / "00000000-1-1-0.arena"
    path.write_bytes(original.read_bytes())
    for word, value in words:
        write_word(path, word, value)
    assert_told(path)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(
        st.tuples(
            st.integers(512, SMALL.base_bytes // 8 - 1), st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 2000)
        ),
        max_size=40,
    )
)
def test_lying_sections_never_crash_a_reader(original, tmp_path, words):
    path = tmp_path / "00000000-1-1-0.arena"
    path.write_bytes(original.read_bytes())
    for word, value in words:
        write_word(path, word, value)
    use(path)


def test_an_unknown_version_is_refused_by_name_and_numbers(directory):
    arena = Arena.create(directory, "web")
    arena.cell.q[H_VERSION] = 99
    with pytest.raises(ArenaVersion, match=re.escape(arena.path)) as caught:
        read(arena.path)
    assert f"format 99, this roadworthy reads format {VERSION}" in caught.value.what
    assert caught.value.hint


@pytest.mark.parametrize(
    ("word", "value", "why"),
    [
        (0, 5, "mark of an arena"),
        (H_STATE, 0, "being made"),
        (H_STATE, 9, "state is 9"),
        (3, 100, "header says 100 bytes"),
        (H_EVENTS, 8, "does not lie in the file"),
        (H_EVENTS, 1 << 40, "does not lie in the file"),
        (H_EVENTS + 1, 15, "no power of two"),
        (H_EVENTS + 1, 1 << 60, "does not lie in the file"),
        (H_BEATS + 2, 64, "does not lie in the file"),
        (H_SERIES, 4097, "does not lie in the file"),
        (H_BLOCKS + 1, 0, "does not lie in the file"),
    ],
)
def test_a_contradiction_is_named(original, tmp_path, word, value, why):
    path = tmp_path / "00000000-1-1-0.arena"
    path.write_bytes(original.read_bytes())
    write_word(path, word, value)
    with pytest.raises(ArenaBroken, match=why):
        read(path)


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(ArenaBroken, match="no regular file"):
        read(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArenaBroken, match="symbolic link"):
        read(tmp_path / "link")
    with pytest.raises(Unavailable, match="its last words were taken"):
        read(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArenaBroken, match="no regular file"):
        read(tmp_path / "pipe")


def test_a_file_cut_short_while_it_is_open_is_refused_at_the_next_refresh(original, tmp_path):
    path = tmp_path / "00000000-1-1-0.arena"
    path.write_bytes(original.read_bytes())
    with read(path) as reader:
        os.truncate(path, 4096)
        with pytest.raises(ArenaBroken, match="changed its length"):
            reader.refresh()


def test_a_file_with_holes_is_copied_instead_of_mapped(original, tmp_path):
    path = tmp_path / "00000000-1-1-0.arena"
    data = original.read_bytes()
    with path.open("wb") as file:
        file.truncate(len(data))
        file.write(data[:4096])
    with read(path) as reader:
        assert not reader._base.mapped
        assert reader.refresh().series() == []
        with path.open("r+b") as file:
            file.write(data)
        assert len(reader.refresh().series()) == 7


def test_somebody_elses_file_is_refused(original, tmp_path, monkeypatch):
    path = tmp_path / "00000000-1-1-0.arena"
    path.write_bytes(original.read_bytes())
    owner = path.stat().st_uid
    if owner == 0:
        os.chown(path, 4711, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(Refused, match="belongs to user"):
        read(path)


def test_a_missing_or_foreign_extent_is_a_problem_told_and_no_more(directory):
    arena = Arena.create(directory, "web", sizes=SMALL)
    for n in range(20):
        arena.counter("c", (("n", str(n)),)).add()
    first = Path(arena.path).with_suffix(".x1")
    away = first.rename(first.with_suffix(".away"))
    with Reader(arena.path) as reader:
        assert len(reader.series()) == 8
        assert "x1" in reader.problems
        away.rename(first)
        assert len(reader.refresh().series()) == 20
        assert not reader.problems
        arena.cell.q[H_EXTENTS] = 1 << 40
        assert len(reader.refresh().series()) == 20
        assert "x3" in reader.problems


def test_a_damaged_description_leaves_the_one_before(arena, read):
    reader = read(arena)
    arena.cell.b[INFO_AT : INFO_AT + 1] = b"?"
    assert reader.refresh().info == {"app": "web"}
    assert "info" in reader.problems
    arena.cell.q[H_INFO_LENGTH] = 1 << 40
    assert reader.refresh().info == {"app": "web"}


def test_files_are_private_and_named_for_their_process(arena, directory):
    (path,) = scan(directory)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    boot, pid, ticks, number = path.name.removesuffix(".arena").split("-")
    assert (int(pid), len(boot)) == (os.getpid(), 8)
    assert int(ticks) > 0
    assert number.isdigit()


def test_two_arenas_of_one_process_get_two_names(arena, directory):
    Arena.create(directory, "web")
    assert len(scan(directory)) == 2


def test_a_directory_that_is_a_link_or_a_file_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(Refused, match="plain directory"):
            Arena.create(tmp_path / name, "web")
    assert list((tmp_path / "real").iterdir()) == []


def test_a_directory_below_a_file_is_unavailable(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable):
        Arena.create(tmp_path / "file" / "arena", "web")


@pytest.mark.parametrize(
    ("number", "kind"), [(28, Exhausted), (122, Exhausted), (24, Exhausted), (13, Unavailable), (5, Unavailable)]
)
def test_a_reservation_that_fails_is_one_clear_error_and_leaves_nothing(directory, monkeypatch, number, kind):
    def refuse(fd, at, size):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(kind, match="cannot make the arena file") as caught:
        Arena.create(directory, "web")
    assert os.strerror(number) in caught.value.why
    assert "fine" in caught.value.hint
    assert list(directory.iterdir()) == []


def test_an_extent_that_cannot_be_made_sends_values_to_the_overflow_series(directory, monkeypatch):
    arena = Arena.create(directory, "web", sizes=SMALL)
    arena.counter("c", (("otel.metric.overflow", "true"),))
    made = [arena.counter("c", (("n", str(n)),)) for n in range(7)]

    def refuse(fd, at, size):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", refuse)
        for n in range(7, 12):
            arena.counter("c", (("n", str(n)),)).add()
        arena.counter("no.place.at.all").add()
    later = arena.counter("c", (("n", "11"),))
    later.add()
    assert later not in made
    with Reader(arena.path) as reader:
        values = {one.labels: one.value for one in reader.series()}
        assert values[("otel.metric.overflow", "true"),] == 5.0
        assert values[("n", "11"),] == 1.0
        assert reader.overflowed == 6
    assert [path for path in directory.iterdir() if ".x" in path.name] == [Path(arena.path).with_suffix(".x1")]


def test_removing_an_arena_removes_its_extents_and_nothing_else(directory):
    arena = Arena.create(directory, "web", sizes=SMALL)
    other = Arena.create(directory, "web", sizes=SMALL)
    for n in range(20):
        arena.counter("c", (("n", str(n)),))
        other.counter("c", (("n", str(n)),))
    files.remove(arena.path)
    assert scan(directory) == [Path(other.path)]
    assert len(list(directory.iterdir())) == 3
    files.remove(arena.path)
