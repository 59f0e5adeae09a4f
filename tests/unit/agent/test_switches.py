"""What people hold is told, saved, found again, and ended; a change that fails leaves everything as it was."""

import json
import os
import stat

import pytest

from roadworthy.agent.switches import FEATURES, FILE, MOST, ON, POLICIES, RESET, RESET_FOR, SERVICES, Switches
from roadworthy.errors import Exhausted, Unavailable
from roadworthy.log import trail
from roadworthy.watch.policies import Held

NOW = 1_795_000_000.0


def test_the_page_says_what_is_held_in_the_form_of_the_contract(tmp_path):
    switches = Switches(tmp_path)
    switches.set(POLICIES, "db", Held("forced_open", "maintenance", NOW, NOW + 60))
    switches.set(FEATURES, "reports", Held("off", "high_load", NOW))
    switches.set(SERVICES, "mail", Held("degraded", "slow", NOW))
    assert switches.book.page() == {
        "policies": {"db": {"force": "forced_open", "until_wall": NOW + 60, "epoch": 1}},
        "features": {"reports": {"off": True, "reason": "high_load", "until_wall": None, "epoch": 2}},
        "services": {"mail": {"degraded": True, "reason": "slow", "until_wall": None, "epoch": 3}},
    }


def test_another_agent_finds_what_was_held(tmp_path):
    first = Switches(tmp_path)
    first.set(FEATURES, "reports", Held("off", "high_load", NOW, NOW + 9))
    first.mark("recover/db", NOW)
    second = Switches(tmp_path)
    assert second.book == first.book
    assert second.last("recover/db") == NOW
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_a_reset_ends_a_force_and_is_told_for_a_while_only(tmp_path):
    switches = Switches(tmp_path)
    switches.set(POLICIES, "db", Held("forced_open", "", NOW))
    assert switches.release(POLICIES, "db", RESET, NOW + 1) is True
    assert switches.book.page()["policies"] == {"db": {"reset": 2}}
    assert switches.held(POLICIES) == {}
    assert switches.tick(NOW + RESET_FOR) == {}
    assert switches.book.page()["policies"] == {"db": {"reset": 2}}
    assert switches.tick(NOW + RESET_FOR + 1) == {}
    assert switches.book.page()["policies"] == {}


def test_giving_back_what_the_program_itself_took_is_told_to_it(tmp_path):
    switches = Switches(tmp_path)
    assert switches.release(FEATURES, "reports", ON, NOW) is False
    assert switches.book.page()["features"]["reports"]["off"] is False


def test_what_is_over_is_forgotten_and_named(tmp_path):
    told = []
    switches = Switches(tmp_path, lambda: told.append(switches.book.page()))
    switches.set(FEATURES, "reports", Held("off", "", NOW, NOW + 5))
    switches.set(FEATURES, "export", Held("off", "", NOW))
    assert switches.tick(NOW + 4) == {}
    assert switches.tick(NOW + 5) == {"features": frozenset({"reports"})}
    assert list(told[-1]["features"]) == ["export"]
    assert list(Switches(tmp_path).held(FEATURES)) == ["export"]


def test_epochs_only_grow_also_over_a_restart(tmp_path):
    switches = Switches(tmp_path)
    for _ in range(3):
        switches.set(POLICIES, "db", Held("disabled", "", NOW))
    switches.release(POLICIES, "db", RESET, NOW)
    switches.tick(NOW + 60)
    again = Switches(tmp_path)
    again.set(POLICIES, "db", Held("disabled", "", NOW))
    assert again.book.page()["policies"]["db"]["epoch"] == 5


def test_a_page_that_is_full_changes_nothing(tmp_path):
    full = False

    def publish():
        if full and len(switches.book.entries[FEATURES]) > 1:
            raise Exhausted("the control page is full")

    switches = Switches(tmp_path, publish)
    switches.set(FEATURES, "reports", Held("off", "", NOW))
    full, before, saved = True, switches.book, (tmp_path / FILE).read_bytes()
    with pytest.raises(Exhausted):
        switches.set(FEATURES, "export", Held("off", "", NOW))
    assert switches.book is before
    assert (tmp_path / FILE).read_bytes() == saved


def test_what_cannot_be_saved_is_taken_back_from_the_page(tmp_path):
    told = []
    switches = Switches(tmp_path / "missing", lambda: told.append(switches.book.page()["features"]))
    with pytest.raises(Unavailable):
        switches.set(FEATURES, "reports", Held("off", "", NOW))
    assert [list(page) for page in told] == [["reports"], []]


def test_no_more_is_held_than_can_be_told(tmp_path):
    switches = Switches(tmp_path)
    book = switches.book
    for number in range(MOST):
        book = book.put(FEATURES, f"f{number}", Held("off", "", NOW))
    with pytest.raises(Exhausted, match="too many features"):
        book.put(FEATURES, "one more", Held("off", "", NOW))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"schema": 99}', '{"schema": 1, "entries": {"policies": {"db": {"x": 1}}}}']
)
def test_a_broken_file_is_set_aside_and_told(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    switches = Switches(tmp_path)
    assert switches.held(POLICIES) == {}
    assert len(switches.notices) == 1
    assert (tmp_path / "switches.json.broken").read_text() == content


def test_the_trail_is_lines_that_only_we_may_read(tmp_path):
    for number in range(3):
        trail.append(
            tmp_path, {"at": number, "actor": "me", "act": "off", "target": "x", "reason": "ä\n", "result": {}}
        )
    path = tmp_path / trail.FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["at"] for line in lines] == [0, 1, 2]
    assert list(lines[0])[:6] == ["at", "actor", "act", "target", "reason", "result"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_that_was_cut_off_does_not_spoil_the_next(tmp_path):
    (tmp_path / trail.FILE).write_text('{"at": 1')
    trail.append(tmp_path, {"at": 2})
    assert json.loads((tmp_path / trail.FILE).read_text().splitlines()[-1])["at"] == 2


def test_a_trail_that_is_a_link_to_elsewhere_is_refused(tmp_path):
    (tmp_path / trail.FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable):
        trail.append(tmp_path, {"at": 1})
    assert not os.path.lexists(tmp_path / "elsewhere")
