"""The kit that kills a function at each of its file-system operations finds what it is there to find."""

import os
import shutil
import tempfile

import pytest

from support.crash_points import crash_points

OLD, NEW = "old " * 50, "new " * 70


def prepare(folder):
    (folder / "file").write_text(OLD)


def in_place(folder):
    (folder / "file").write_text(NEW)


def moved_away_first(folder):
    (folder / "file").rename(folder / "file.old")
    (folder / "file").write_text(NEW)


def replaced(folder, *, synced=True, by=os.replace):
    with open(folder / "new", "w", encoding="utf-8") as file:  # noqa: PTH123 - the builtin is what is tried here
        file.write(NEW)
        file.flush()
        if synced:
            os.fsync(file.fileno())
    by(folder / "new", folder / "file")


def replaced_by_descriptor(folder):
    handle = os.open(folder / "new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(handle, NEW.encode())
    os.fsync(handle)
    os.close(handle)
    (folder / "new").replace(folder / "file")


def replaced_by_a_temporary_file(folder):
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
        file.write(NEW)
        file.flush()
        os.fsync(file.fileno())
    os.rename(file.name, folder / "file")  # noqa: PTH104 - as above


def found_in(folder):
    path = folder / "file"
    return path.read_text() if path.exists() else None


@pytest.mark.parametrize("change", [in_place, moved_away_first])
def test_a_change_that_is_not_atomic_is_found(change, tmp_path):
    assert any(found_in(crash.folder) not in {OLD, NEW} for crash in crash_points(change, tmp_path, prepare))


@pytest.mark.parametrize("change", [replaced, replaced_by_descriptor, replaced_by_a_temporary_file])
@pytest.mark.parametrize("power_cut", [False, True])
def test_an_atomic_replace_passes(change, power_cut, tmp_path):
    crashes = list(crash_points(change, tmp_path, prepare, power_cut=power_cut))
    assert {found_in(crash.folder) for crash in crashes} == {OLD, NEW}
    assert all(found_in(crash.folder) == NEW for crash in crashes if crash.finished)
    assert sum(crash.finished for crash in crashes) == 1 + power_cut


def test_a_write_is_also_cut_in_half(tmp_path):
    halves = [crash for crash in crash_points(replaced, tmp_path, prepare) if "half" in crash.operation]
    assert [(crash.folder / "new").read_text() for crash in halves] == [NEW[: len(NEW) // 2]]


def test_a_replace_that_was_not_written_through_is_lost_with_the_power_only(tmp_path):
    def change(folder):
        replaced(folder, synced=False)

    assert {found_in(crash.folder) for crash in crash_points(change, tmp_path, prepare)} == {OLD, NEW}
    assert "" in {found_in(crash.folder) for crash in crash_points(change, tmp_path, prepare, power_cut=True)}


def test_content_that_was_written_through_before_outlives_a_power_cut(tmp_path):
    def change(folder):
        with (folder / "file").open("a") as file:
            file.write(NEW)

    found = {found_in(crash.folder) for crash in crash_points(change, tmp_path, prepare, power_cut=True)}
    assert found == {OLD, OLD + NEW[: len(NEW) // 2], OLD + NEW}


def test_each_kind_of_operation_is_seen(tmp_path):
    def change(folder):
        (folder / "below").mkdir()
        (folder / "below" / "a").write_bytes(b"12345678")
        os.link(folder / "below" / "a", folder / "b")
        os.truncate(folder / "b", 4)
        (folder / "b").unlink()
        shutil.rmtree(folder / "below")

    seen = {crash.operation.split(" ")[0] for crash in crash_points(change, tmp_path)}
    assert {"mkdir", "open", "write", "link", "truncate", "unlink", "rmdir", "end"} <= seen


def test_what_the_function_raises_is_shown(tmp_path):
    def change(folder):
        (folder / "absent").read_text()

    with pytest.raises(AssertionError, match="FileNotFoundError"):
        list(crash_points(change, tmp_path))


def test_this_process_keeps_its_own_functions(tmp_path):
    before = open, os.write, os.replace
    list(crash_points(replaced, tmp_path, prepare))
    assert (open, os.write, os.replace) == before
