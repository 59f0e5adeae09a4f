"""Output files without a keeper: what was read is given back, what was not stays, and a flood is read in time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from roadworthy.cli.orphaned_output import OrphanedOutput
from roadworthy.keeper.output import KEEP

MB = 1 << 20


class Files:
    """The output files of one worker, and an agent that reads when it is told to."""

    def __init__(self, folder):
        self.folder = folder
        self.read_to = {}
        self.reads = 0
        self.members = [SimpleNamespace(slot=0, generation=1, pid=7)]
        self.output = OrphanedOutput(folder, lambda: self.members, lambda: self.read_to, self.read)
        for name in ("out-0-1", "err-0-1"):
            (folder / name).touch()

    def read(self):
        self.reads += 1
        for path in self.folder.iterdir():
            self.read_to[path.name] = (path.stat().st_ino, path.stat().st_size)
        return self.read_to

    def prints(self, count, name="out-0-1"):
        with (self.folder / name).open("ab") as file:
            file.write(b"x" * count)

    def disk(self, name="out-0-1"):
        return (self.folder / name).stat().st_blocks * 512

    def readable(self, name="out-0-1"):
        """Return how many of its bytes are still there."""
        return len((self.folder / name).read_bytes().replace(b"\0", b""))


@pytest.fixture
def files(tmp_path):
    made = Files(tmp_path)
    yield made
    made.output.close()


def test_what_was_not_read_stays_whole(files):
    files.prints(MB // 2)
    assert files.output.look(1.0) is False
    assert (files.readable(), files.reads) == (MB // 2, 0)


def test_what_was_read_is_given_back_except_for_the_newest(files):
    files.prints(3 * MB)
    files.read()
    files.reads = 0
    assert files.output.look(1.0) is False
    assert files.readable() == pytest.approx(KEEP, abs=4096)
    assert files.disk() < 2 * MB
    assert (files.folder / "out-0-1").stat().st_size == 3 * MB, "offsets never shift"
    assert files.reads == 0


def test_a_flood_is_read_at_once_and_its_file_stays_bounded(files):
    for number in range(20):
        files.prints(2 * MB)
        assert files.output.look(float(number)) is True
        assert files.disk() < 4 * MB
    assert files.reads == 20
    assert files.output.look(21.0) is False


def test_a_worker_that_has_ended_and_one_without_files_are_no_trouble(files):
    files.members = [SimpleNamespace(slot=0, generation=2, pid=8), SimpleNamespace(slot=1, generation=1, pid=None)]
    assert files.output.look(1.0) is False
    files.members = [SimpleNamespace(slot=0, generation=1, pid=7)]
    files.prints(3 * MB, "err-0-1")
    assert files.output.look(2.0) is True
    assert files.disk("err-0-1") < 2 * MB
    files.members = []
    assert files.output.look(3.0) is False
