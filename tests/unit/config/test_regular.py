"""What is no regular file is refused at once, wherever it stands in for one."""

from __future__ import annotations

import os

import pytest

from roadworthy.config import regular
from roadworthy.config.secrets import open_backend
from roadworthy.errors import RoadworthyError
from roadworthy.log import trail
from roadworthy.log.redact import learn_file


def test_the_first_bytes_of_a_file_are_read(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert regular.read(tmp_path / "a", 3) == b"123"


def test_a_pipe_without_a_writer_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / ".env", 0o600)
    with pytest.raises(OSError, match="no regular file"):
        regular.read(tmp_path / ".env", 3)
    with pytest.raises(RoadworthyError, match="A_KEY"):
        open_backend({}, kind="dotenv", folder=tmp_path).get("A_KEY")
    learn_file(str(tmp_path / ".env"))


@pytest.mark.parametrize("path", ["/dev/zero", "/"])
def test_neither_a_device_nor_a_folder_is_read(path):
    with pytest.raises(OSError, match=r"no regular file|Is a directory"):
        regular.read(path, 3)


def test_an_encrypted_file_that_is_a_pipe_or_nested_too_deeply_is_one_error(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    path = project / "secrets.enc.json"
    path.write_text('{"roadworthy-secrets":1,"entries":' + "[" * 200_000)
    path.chmod(0o600)
    environ = {"HOME": str(tmp_path / "home")}
    with pytest.raises(RoadworthyError, match="cannot be understood"):
        open_backend(environ, kind="encrypted_file", folder=project).get("A_KEY")
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(RoadworthyError, match=r"secrets\.enc\.json"):
        open_backend(environ, kind="encrypted_file", folder=project).get("A_KEY")


def test_a_trail_that_is_a_pipe_cannot_be_read(tmp_path):
    trail.append(str(tmp_path), {"at": 1.0, "act": "x"})
    (tmp_path / "audit.jsonl").unlink()
    os.mkfifo(tmp_path / "audit.jsonl", 0o600)
    with pytest.raises(RoadworthyError, match=r"audit\.jsonl"):
        trail.verify(str(tmp_path))
