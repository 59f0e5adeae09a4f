"""An export file is whole or not there, is named by its time in UTC, and leaves nothing behind when it fails."""

import json
import os

import pytest

from roadworthy.errors import Exhausted, Unavailable
from roadworthy.view import export
from roadworthy.view.snapshot import from_json
from unit.view.snapshots import NOW, troubled


def test_a_json_file_holds_the_snapshot(tmp_path):
    written = export.write(troubled(), tmp_path / "deep" / "er")
    assert written.name == "metrics_20261118T110640250Z.json"
    assert from_json(json.loads(written.read_text())) == troubled()
    assert list(written.parent.iterdir()) == [written]
    assert written.stat().st_mode & 0o777 == 0o600


def test_a_prometheus_file_and_another_prefix(tmp_path):
    written = export.write(troubled(), tmp_path, "prometheus", prefix="metrics_export_")
    assert written.name == export.file_name(NOW, "prometheus", prefix="metrics_export_")
    assert written.suffix == ".prom"
    assert "orders_total" in written.read_text()


@pytest.mark.parametrize(("number", "kind"), [(28, Exhausted), (122, Exhausted), (30, Unavailable)])
def test_a_failure_is_one_clear_error_and_leaves_nothing(tmp_path, monkeypatch, number, kind):
    def fails(_descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(kind, match="cannot write metrics_"):
        export.write(troubled(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_a_file_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable) as caught:
        export.write(troubled(), tmp_path / "file")
    assert "--path" in caught.value.hint
