"""The audit trail: each record linked to the one before, whatever is done to the files named at the first place."""

import fcntl
import itertools
import json
import multiprocessing
import os
import re
import stat
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import Exhausted, NotFound, Unavailable, UsageError
from roadworthy.log import chain, head, trail
from roadworthy.log.chain import GENESIS
from support.crash_points import crash_points


def write(folder, count, **more):
    hashes = []
    for number in range(count):
        trail.append(folder, {"at": number, "act": f"act {number}", **more}, sync=False)
        hashes.append(head.read(str(folder))[1])
    return hashes


def records(folder, name=trail.FILE):
    return [json.loads(line) for line in (folder / name).read_bytes().splitlines()]


def broken(folder, **more):
    found = trail.verify(folder, **more).broken
    return found and (found.file, found.line, found.what)


# -- what is written


def test_each_record_carries_its_number_the_hash_before_and_its_own(tmp_path):
    hashes = write(tmp_path, 3)
    found = records(tmp_path)
    assert [one["seq"] for one in found] == [1, 2, 3]
    assert [one["prev"] for one in found] == [GENESIS, *hashes[:2]]
    assert [one["hash"] for one in found] == hashes
    assert found[0]["begins"] == {"app": tmp_path.name, "at": 0}
    assert list(found[1])[:6] == list(trail.FIELDS)
    assert all(stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600 for name in (trail.FILE, trail.HEAD, trail.LOCK))


def test_the_hash_is_that_of_the_line_s_own_bytes_so_that_any_tool_can_check_it(tmp_path):
    (own,) = write(tmp_path, 1)
    line = (tmp_path / trail.FILE).read_bytes()
    assert chain.digest(line.split(b',"hash":')[0]) == own


def test_a_whole_trail_verifies_and_tells_its_head(tmp_path):
    hashes = write(tmp_path, 5)
    found = trail.verify(tmp_path)
    assert (found.whole, found.records, found.head_seq, found.head) == (True, 5, 5, hashes[-1])
    assert (found.app, found.since, found.files, found.notes) == (tmp_path.name, 0.0, (trail.FILE,), ())


def test_secrets_and_what_forges_lines_do_not_come_into_the_trail(tmp_path):
    trail.append(
        tmp_path,
        {
            "actor": "me\x1b[31m",
            "reason": "a\nb password=hunter2secret",
            "old": {"api_key": "abcdef123456", "retries": 3, "pin": 1234},
            "new": ["postgres://u:hunter2secret@db/x", {1: float("inf")}],
            "data": {"deep": {"a": {"b": {"c": {"d": {"e": {"f": object}}}}}}, "none": None, "yes": True, "half": 0.5},
            "seq": 99,
            "hash": "mine",
        },
    )
    text = (tmp_path / trail.FILE).read_text()
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    for secret in ("hunter2secret", "abcdef123456", "1234", "mine"):
        assert secret not in text.split('"prev"')[0]
    (found,) = records(tmp_path)
    assert found["seq"] == 1
    assert found["old"]["retries"] == 3
    assert found["data"]["half"] == 0.5


def test_a_record_is_bounded_and_says_so(tmp_path):
    trail.append(tmp_path, {"act": "a", "result": {"ok": True}, "data": {f"k{n}": "x " * 5000 for n in range(60)}})
    (found,) = records(tmp_path)
    assert (found["cut"], found["act"], found["result"], "data" in found) == (True, "a", {"ok": True}, False)
    assert trail.verify(tmp_path).whole


def test_full_files_are_put_aside_and_the_chain_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(trail, "MOST_BYTES", 1500)
    hashes = write(tmp_path, 20)
    names = trail.archives(str(tmp_path))
    assert len(names) > 2
    assert names[0] == "audit-000001.jsonl"
    found = trail.verify(tmp_path)
    assert (found.whole, found.records, found.head, len(found.files)) == (True, 20, hashes[-1], len(names) + 1)
    first = records(tmp_path, names[1])[0]
    assert first["prev"] == records(tmp_path, names[0])[-1]["hash"]
    (tmp_path / names[1]).unlink()
    assert broken(tmp_path)[2] == "removed"


def test_lines_of_an_older_version_stay_and_a_record_tells_where_the_chain_begins(tmp_path):
    (tmp_path / trail.FILE).write_text('{"at": 1, "act": "old"}\n{"at": 2, "act": "ol')
    write(tmp_path, 2)
    boundary = records_after(tmp_path, 2)[0]
    assert (boundary["act"], boundary["data"]["lines"], boundary["seq"]) == (chain.CONTINUED, 2, 1)
    found = trail.verify(tmp_path)
    assert (found.whole, found.unchained, found.records) == (True, 2, 3)
    text = (tmp_path / trail.FILE).read_text()
    (tmp_path / trail.FILE).write_text(text.replace('"old"', '"odd"'))
    assert broken(tmp_path) == (trail.FILE, 1, "changed")


def records_after(folder, count):
    return [json.loads(line) for line in (folder / trail.FILE).read_bytes().splitlines()[count:]]


def test_the_boundary_itself_cannot_be_taken_out(tmp_path):
    (tmp_path / trail.FILE).write_text('{"at": 1, "act": "old"}\n{"at": 2, "act": "old"}\n')
    write(tmp_path, 2)
    lines = (tmp_path / trail.FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / trail.FILE).write_bytes(b"".join(lines[:2] + lines[3:]))
    assert broken(tmp_path) == (trail.FILE, 3, "removed")
    (tmp_path / trail.FILE).write_bytes(b"".join([*lines[:2], lines[2].replace(b"trail", b"Trail"), *lines[3:]]))
    assert broken(tmp_path) == (trail.FILE, 3, "changed")


def test_a_trail_of_an_older_version_alone_is_whole_and_nothing_more_is_claimed(tmp_path):
    (tmp_path / trail.FILE).write_text('{"at": 1}\n')
    found = trail.verify(tmp_path)
    assert (found.whole, found.unchained, found.records) == (True, 1, 0)
    assert "nothing is known" in found.notes[0]


def test_a_line_that_was_cut_off_before_it_counted_is_kept_and_told(tmp_path):
    write(tmp_path, 2)
    with (tmp_path / trail.FILE).open("ab") as file:
        file.write(b'{"at":9,"act":"half')
    found = trail.verify(tmp_path)
    assert (found.whole, found.records) == (True, 2)
    assert "cut off" in found.notes[0]
    write(tmp_path, 1)
    lines = (tmp_path / trail.FILE).read_bytes().splitlines()
    assert lines[2] == b'{"at":9,"act":"half'
    assert json.loads(lines[3])["act"] == chain.CUT_OFF
    found = trail.verify(tmp_path)
    assert (found.whole, found.records, found.cut_off, found.notes) == (True, 4, 1, ())
    (tmp_path / trail.FILE).write_bytes(b"\n".join([*lines[:2], b'{"other', *lines[3:]]) + b"\n")
    assert broken(tmp_path) == (trail.FILE, 3, "inserted")


@pytest.mark.parametrize("kept", [-1, -30, -100])
def test_a_record_that_counted_and_is_cut_off_now_is_a_broken_link_also_after_the_next(tmp_path, kept):
    write(tmp_path, 3)
    data = (tmp_path / trail.FILE).read_bytes()
    (tmp_path / trail.FILE).write_bytes(data[:kept])
    assert broken(tmp_path) == (trail.FILE, 3, "cut-off")
    if kept != -1:
        write(tmp_path, 1)
        assert broken(tmp_path) == (trail.FILE, 3, "changed")


def test_an_append_does_not_hide_that_the_end_was_removed(tmp_path):
    write(tmp_path, 4)
    lines = (tmp_path / trail.FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / trail.FILE).write_bytes(b"".join(lines[:2]))
    assert broken(tmp_path) == (trail.FILE, 3, "truncated")
    write(tmp_path, 1)
    assert broken(tmp_path) == (trail.FILE, 3, "removed")
    (tmp_path / trail.FILE).write_bytes(b"")
    assert broken(tmp_path) == (trail.FILE, 1, "truncated")


def test_a_head_that_is_behind_is_no_broken_link_and_one_that_is_missing_is(tmp_path):
    write(tmp_path, 2)
    before = (tmp_path / trail.HEAD).read_bytes()
    write(tmp_path, 1)
    (tmp_path / trail.HEAD).write_bytes(before)
    assert "behind" in trail.verify(tmp_path).notes[0]
    (tmp_path / trail.HEAD).unlink()
    assert broken(tmp_path) == (trail.HEAD, 0, "removed")
    write(tmp_path, 1)
    assert broken(tmp_path) is None


def test_a_head_of_another_chain_is_told(tmp_path):
    write(tmp_path, 3)
    (tmp_path / trail.HEAD).write_bytes(head.slot(2, "0" * 64))
    assert broken(tmp_path) == (trail.FILE, 2, "changed")
    (tmp_path / trail.FILE).write_text('{"at": 1}\n')
    assert broken(tmp_path) == (trail.FILE, 1, "changed")


def test_a_trail_made_anew_is_whole_and_only_a_hash_kept_elsewhere_shows_it(tmp_path):
    kept = write(tmp_path, 3)[1]
    assert trail.verify(tmp_path, expect=kept).whole
    assert trail.verify(tmp_path, expect=kept[:16].upper()).whole
    for name in (trail.FILE, trail.HEAD):
        (tmp_path / name).unlink()
    write(tmp_path, 3, actor="forger")
    assert trail.verify(tmp_path).whole
    assert broken(tmp_path, expect=kept) == (trail.FILE, 3, "another trail")
    with pytest.raises(UsageError, match="no hash"):
        trail.verify(tmp_path, expect="beef")


def test_a_chain_is_continued_from_its_last_whole_link_when_head_and_end_are_lost(tmp_path, monkeypatch):
    write(tmp_path, 3)
    (tmp_path / trail.HEAD).unlink()
    data = (tmp_path / trail.FILE).read_bytes()
    (tmp_path / trail.FILE).write_bytes(data + b"garbage\n")
    write(tmp_path, 1)
    assert records_after(tmp_path, 4)[0]["seq"] == 4
    assert broken(tmp_path) == (trail.FILE, 4, "inserted")
    (tmp_path / trail.FILE).write_bytes(data)
    monkeypatch.setattr(trail, "MOST_BYTES", 1)
    (tmp_path / trail.HEAD).unlink()
    write(tmp_path, 1)
    (tmp_path / trail.FILE).write_bytes(b"")
    (tmp_path / trail.HEAD).unlink()
    write(tmp_path, 1)
    assert trail.verify(tmp_path).records == 4


# -- what cannot be written


def test_no_trail_is_no_whole_trail(tmp_path):
    with pytest.raises(NotFound, match="no audit trail"):
        trail.verify(tmp_path)
    with pytest.raises(NotFound, match="no audit trail"):
        trail.verify(tmp_path / "nowhere")


def test_a_full_disk_leaves_the_trail_as_it_was(tmp_path, monkeypatch):
    write(tmp_path, 1)
    before = (tmp_path / trail.FILE).read_bytes()
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: real(handle, data[:10]))
        with pytest.raises(Exhausted, match="cannot write"):
            write(tmp_path, 1)
    assert (tmp_path / trail.FILE).read_bytes() == before


def test_a_lock_that_is_not_given_back_ends_the_wait_and_nothing_is_written(tmp_path):
    write(tmp_path, 1)
    asked, done = multiprocessing.get_context("spawn").Pipe()
    holder = multiprocessing.get_context("spawn").Process(target=hold, args=(str(tmp_path / trail.LOCK), done))
    holder.start()
    try:
        assert asked.recv() == "held"
        with pytest.raises(Unavailable, match="locked"):
            trail.append(tmp_path, {}, patience=0.01)
    finally:
        asked.send("enough")
        holder.join(20)
    assert trail.verify(tmp_path).records == 1


def hold(path, end):
    with open(path, "r+b") as file:  # noqa: PTH123 - a descriptor is locked
        fcntl.lockf(file, fcntl.LOCK_EX)
        end.send("held")
        end.recv()


def test_an_append_in_the_middle_of_another_gives_up_instead_of_waiting_for_itself(tmp_path):
    with trail.locked(str(tmp_path), 1.0), pytest.raises(Unavailable, match="locked"):
        trail.append(tmp_path, {}, patience=0.01)


def test_a_child_that_was_forked_in_the_middle_of_an_append_can_append(tmp_path):
    with trail.locked(str(tmp_path), 1.0):
        trail._after_fork()
    write(tmp_path, 1)
    assert trail.verify(tmp_path).whole


def test_what_is_not_readable_is_told_and_not_called_broken(tmp_path, monkeypatch):
    write(tmp_path, 1)

    def denied(*_arguments, **_more):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(trail, "archives", denied)
    with pytest.raises(Unavailable, match="cannot read"):
        trail.verify(tmp_path)


# -- laws


@pytest.mark.parametrize("most", [trail.MOST_BYTES, 1])
def test_a_crash_at_any_point_of_an_append_leaves_a_whole_trail_that_goes_on(tmp_path, monkeypatch, most):
    monkeypatch.setattr(trail, "MOST_BYTES", most)
    for crash in crash_points(
        lambda folder: trail.append(folder, {"act": "last"}),
        tmp_path,
        lambda folder: [trail.append(folder, {"act": f"act {number}"}) for number in range(2)],
        power_cut=True,
    ):
        found = trail.verify(crash.folder)
        assert found.whole, (crash, found)
        assert found.records in ({3} if crash.finished else {2, 3}), crash
        trail.append(crash.folder, {"act": "after"})
        found = trail.verify(crash.folder)
        assert (found.whole, found.notes) == (True, ()), (crash, found)
        assert found.records - found.cut_off in {3, 4}


def test_a_crash_at_any_point_of_the_first_append_leaves_a_folder_that_can_be_appended_to(tmp_path):
    for crash in crash_points(lambda folder: trail.append(folder, {"act": "first"}), tmp_path, power_cut=True):
        trail.append(crash.folder, {"act": "after"})
        assert trail.verify(crash.folder).whole, crash


def many(folder, name):
    for number in range(25):
        trail.append(folder, {"act": f"{name} {number}"}, patience=30.0, sync=False)


def test_processes_and_threads_that_append_at_once_make_one_chain(tmp_path, monkeypatch):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=many, args=(str(tmp_path), f"p{number}")) for number in range(3)]
    threads = [threading.Thread(target=many, args=(tmp_path, f"t{number}")) for number in range(2)]
    for one in (*processes, *threads):
        one.start()
    for one in (*processes, *threads):
        one.join(60)
    found = trail.verify(tmp_path)
    assert (found.whole, found.records, found.notes) == (True, 125, ())
    acts = [one["act"] for one in records(tmp_path)]
    assert len(set(acts)) == 125


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    write(folder, 8)
    return folder, (folder / trail.FILE).read_bytes().splitlines(keepends=True)


def change(lines, draw):
    index = draw(st.integers(0, len(lines) - 1))
    line = bytearray(lines[index])
    at = draw(st.integers(0, len(line) - 1))
    byte = draw(st.integers(0, 255).filter(lambda value: value != line[at]))
    line[at] = byte
    return [*lines[:index], bytes(line), *lines[index + 1 :]], {"changed", "cut-off", "inserted"}


def remove(lines, draw):
    index = draw(st.integers(0, len(lines) - 1))
    return [*lines[:index], *lines[index + 1 :]], {"removed", "truncated"}


def swap(lines, draw):
    one, other = sorted(draw(st.lists(st.integers(0, len(lines) - 1), min_size=2, max_size=2, unique=True)))
    found = list(lines)
    found[one], found[other] = found[other], found[one]
    return found, {"reordered"}


def insert(lines, draw):
    at = draw(st.integers(0, len(lines)))
    extra = draw(st.sampled_from(lines) | st.just(b"\n") | st.binary(max_size=80).map(lambda text: text + b"\n"))
    return [*lines[:at], extra, *lines[at:]], {"inserted", "changed"}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([change, remove, swap, insert]), st.data())
def test_any_single_change_is_found_and_named_at_the_first_place(sample, act, data):
    folder, lines = sample
    after, words = act(lines, data.draw)
    before, now = b"".join(lines), b"".join(after)
    path = folder / trail.FILE
    try:
        path.write_bytes(now)
        found = trail.verify(folder).broken
    finally:
        path.write_bytes(before)
    assert found is not None
    pairs = itertools.zip_longest(*(re.findall(rb"[^\n]*\n|[^\n]+", text) for text in (before, now)))
    first = next(number for number, (one, other) in enumerate(pairs, 1) if one != other)
    assert (found.line, found.what in words) == (first, True), found
