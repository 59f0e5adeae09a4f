"""What people may have done: checked, cooled down, audited, and one result for all."""

import math

import pytest

from roadworthy import _clock
from roadworthy.agent.acts import COOLDOWN, Acts
from roadworthy.agent.asked import TooSoon
from roadworthy.agent.resilience import Declaration, Resilience
from roadworthy.agent.switches import Switches
from roadworthy.errors import NotFound, Temporary, Unavailable, UsageError

pytestmark = pytest.mark.anyio

NOW = 1_795_000_000.0


class Apps:
    """Processes that declare what a test says and answer what a test says."""

    def __init__(self):
        self.told = {"policies": [], "services": [], "features": []}
        self.answers = {}
        self.asked = []

    def declare(self, kind, *told, pid=7, slot=0):
        self.told[kind] += [Declaration(pid, slot, one) for one in told]

    def declared(self, kind):
        return self.told[kind]

    async def recover(self, pid, name, timeout):  # noqa: ASYNC109 - as the agent's socket has it
        self.asked.append((pid, name, timeout))
        answer = self.answers.get(pid, {"ok": True, "detail": "reconnected", "took": 0.1})
        if isinstance(answer, Exception):
            raise answer
        return answer


class House:
    """An agent's acts with everything around them in memory."""

    def __init__(self, state, *, keeper=True):
        self.apps = Apps()
        self.switches = Switches(state)
        self.picture = Resilience(self.switches, self.apps)
        self.requests, self.records, self.notes = [], [], []
        self.possible = True
        self.acts = Acts(
            self.picture,
            self.switches,
            self.apps,
            request=self._request if keeper else None,
            slots=lambda: range(4),
            audit=lambda record: self.records.append(record) or True,
            note=lambda text, level: self.notes.append((level, text)),
        )

    def _request(self, what, slot):
        self.requests.append((what, slot))
        return self.possible

    async def do(self, act, name, **asked):
        self.picture.look(0)
        return await self.acts.table()[act]({"name": name, "actor": "me", **asked})


@pytest.fixture(autouse=True)
def wall(monkeypatch):
    class Wall:
        now = NOW

    monkeypatch.setattr(_clock, "wall", lambda: Wall.now)
    return Wall


@pytest.fixture
def house(tmp_path):
    found = House(tmp_path)
    found.apps.declare("policies", {"name": "db", "breaker": {"state": "closed"}}, {"name": "cache", "breaker": None})
    found.apps.declare("features", {"name": "reports", "off": False})
    found.apps.declare("services", {"name": "database", "state": "down", "recover": True, "restart": False})
    return found


async def test_a_recovery_that_helped_says_so_and_is_in_the_trail(house):
    done = await house.do("recover", "database", reason="by hand")
    assert (done["ok"], done["act"], done["outcome"], done["detail"]) == (True, "recover", "recovered", "reconnected")
    assert done["processes"] == ({"pid": 7, "slot": 0, "ok": True, "detail": "reconnected", "took": 0.1},)
    (record,) = house.records
    assert record.pop("result")["ok"] is True
    assert record == {"at": NOW, "actor": "me", "act": "recover", "target": "database", "reason": "by hand"}
    assert house.requests == []


@pytest.mark.parametrize(
    "answer",
    [{"ok": False, "detail": "refused"}, {"ok": "yes"}, {}, Unavailable("process 7 hung up")],
)
async def test_a_recovery_without_a_clear_yes_has_failed(house, answer):
    house.apps.answers[7] = answer
    done = await house.do("recover", "database")
    assert (done["ok"], done["outcome"], done["escalated"]) == (False, "failed", False)
    assert house.notes[-1][0] == "warning"


async def test_one_process_that_could_not_recover_fails_the_recovery(house):
    house.apps.declare("services", {"name": "database", "recover": True}, pid=8, slot=1)
    house.apps.answers[8] = {"ok": False, "detail": "still refused"}
    done = await house.do("recover", "database")
    assert (done["ok"], done["detail"]) == (False, "still refused; reconnected")
    assert sorted(pid for pid, *_ in house.apps.asked) == [7, 8]


@pytest.mark.parametrize(
    ("slots", "requests"),
    [([0], [("restart", 0)]), ([0, 2], [("reload", 0), ("reload", 2)]), ([None], [("reload", None)])],
)
async def test_a_recovery_goes_on_to_restart_when_the_service_was_registered_so(house, slots, requests):
    house.apps.told["services"] = []
    for slot in slots:
        house.apps.declare("services", {"name": "database", "recover": True, "restart": True}, pid=7, slot=slot)
    house.apps.answers[7] = {"ok": False, "detail": "refused"}
    done = await house.do("recover", "database")
    assert (done["ok"], done["act"], done["outcome"], done["escalated"]) == (True, "recover", "begun", True)
    assert done["detail"].startswith("recovery failed (")
    assert house.requests == requests


async def test_without_a_keeper_a_failed_recovery_stays_one(tmp_path):
    house = House(tmp_path, keeper=False)
    house.apps.declare("services", {"name": "database", "recover": True, "restart": True})
    house.apps.answers[7] = {"ok": False, "detail": "refused"}
    done = await house.do("recover", "database")
    assert (done["ok"], done["outcome"], done["escalated"]) == (False, "failed", False)
    with pytest.raises(Unavailable, match="cannot be restarted"):
        await house.do("restart_service", "database")


async def test_a_restart_that_the_supervisor_refuses_has_failed(house):
    house.possible = False
    done = await house.do("restart_service", "database")
    assert (done["ok"], done["outcome"]) == (False, "failed")
    done = await house.do("restart_service", "worker-3")
    assert (done["ok"], done["outcome"]) == (False, "failed")


async def test_a_worker_that_is_not_there_is_refused_with_those_that_are(house):
    with pytest.raises(NotFound) as refused:
        await house.do("restart_service", "worker-9")
    assert refused.value.hint == "Known workers: worker-0, worker-1, worker-2, worker-3."
    assert house.requests == []
    assert house.records == []


async def test_recover_and_restart_give_the_same_object(house):
    recovered, restarted = await house.do("recover", "database"), await house.do("restart_service", "database")
    assert list(recovered) == list(restarted)
    assert (restarted["act"], restarted["outcome"], restarted["escalated"]) == ("restart", "begun", False)
    assert house.requests == [("reload", None)]


async def test_a_worker_is_restarted_by_its_slot(house):
    done = await house.do("restart_service", "worker-2")
    assert (done["ok"], house.requests) == (True, [("restart", 2)])


@pytest.mark.parametrize("name", ["worker-02", "worker-\u0662", "worker--2", "worker-+2", "worker-" + "9" * 100])
async def test_a_worker_has_one_name_so_that_its_cooldown_is_not_got_around(house, name):
    with pytest.raises(NotFound):
        await house.do("restart_service", name)
    assert house.requests == []


async def test_what_cannot_be_recovered_is_refused_and_costs_no_cooldown(house):
    house.apps.declare("services", {"name": "mail", "state": "up"})
    for _ in range(2):
        with pytest.raises(Unavailable, match="cannot be recovered"):
            await house.do("recover", "mail")
    assert house.records == []


@pytest.mark.parametrize(("act", "kind"), [("recover", "recover"), ("restart_service", "restart")])
async def test_two_of_the_same_act_have_time_between_them_also_for_the_next_agent(house, tmp_path, wall, act, kind):
    await house.do(act, "database")
    wall.now += COOLDOWN[kind] - 1
    successor = House(tmp_path)
    successor.apps.told = house.apps.told
    for one in (house, successor):
        with pytest.raises(TooSoon) as refused:
            await one.do(act, "database")
        assert refused.value.retry_after == pytest.approx(1)
    assert issubclass(TooSoon, Temporary)
    wall.now += 1
    assert (await successor.do(act, "database"))["ok"]


async def test_a_clock_that_was_set_back_locks_nobody_out(house, wall):
    await house.do("recover", "database")
    wall.now -= 3600
    assert (await house.do("recover", "database"))["ok"]


@pytest.mark.parametrize(
    ("hold", "release", "kind", "name", "asked"),
    [
        ("force", "reset", "policies", "db", {"state": "forced_open"}),
        ("off", "on", "features", "reports", {}),
        ("degrade", "restore", "services", "database", {}),
    ],
)
async def test_what_is_held_is_held_until_it_is_given_back(house, wall, hold, release, kind, name, asked):
    table = {"off": "feature_off", "on": "feature_on"}
    done = await house.do(table.get(hold, hold), name, reason="high_load", **{"for": 60}, **asked)
    assert (done["ok"], done["act"], done["outcome"], done["until"]) == (True, hold, "held", NOW + 60)
    held = house.switches.held(kind)[name]
    assert (held.reason, held.at, held.until) == ("high_load", NOW, NOW + 60)
    wall.now += 5
    done = await house.do(table.get(release, release), name)
    assert (done["act"], done["outcome"], done["detail"]) == (release, "released", "given back")
    assert house.switches.held(kind) == {}
    assert [record["act"] for record in house.records] == [hold, release]


@pytest.mark.parametrize(
    ("act", "name", "asked", "error"),
    [
        ("force", "nope", {"state": "forced_open"}, NotFound),
        ("force", "cache", {"state": "forced_open"}, UsageError),
        ("force", "db", {"state": "closed"}, UsageError),
        ("force", "db", {"state": ""}, UsageError),
        ("force", "db", {}, UsageError),
        ("force", "db", {"state": "disabled", "for": 0}, UsageError),
        ("force", "db", {"state": "disabled", "for": -1}, UsageError),
        ("force", "db", {"state": "disabled", "for": math.inf}, UsageError),
        ("force", "db", {"state": "disabled", "for": math.nan}, UsageError),
        ("force", "db", {"state": "disabled", "for": "60"}, UsageError),
        ("force", "db", {"state": "disabled", "reason": "x" * 201}, UsageError),
        ("force", "db", {"state": "disabled", "reason": "two\nlines"}, UsageError),
        ("reset", "nope", {}, NotFound),
        ("reset", "cache", {}, UsageError),
        ("feature_off", "nope", {}, NotFound),
        ("feature_off", "", {}, UsageError),
        ("feature_off", "x" * 129, {}, UsageError),
        ("feature_off", "a\x00b", {}, UsageError),
        ("feature_on", "nope", {}, NotFound),
        ("feature_on", "reports", {"reason": "x" * 300}, UsageError),
        ("degrade", "nope", {}, NotFound),
        ("restore", "nope", {}, NotFound),
        ("recover", "nope", {}, NotFound),
        ("recover", "database", {"reason": "x" * 300}, UsageError),
        ("restart_service", "nope", {}, NotFound),
        ("restart_service", "database", {"reason": "x" * 300}, UsageError),
    ],
)
async def test_a_wrong_name_or_value_is_refused_and_changes_nothing(house, act, name, asked, error):
    before = house.switches.book
    with pytest.raises(error):
        await house.do(act, name, **asked)
    assert house.switches.book is before
    assert (house.records, house.notes, house.requests, house.apps.asked) == ([], [], [], [])


async def test_a_trail_that_cannot_be_written_does_not_stop_what_is_urgent_and_is_told(tmp_path):
    house = House(tmp_path)
    house.acts._audit = lambda _record: False
    house.apps.declare("features", {"name": "reports", "off": False})
    done = await house.do("feature_off", "reports")
    assert (done["ok"], done["audited"]) == (True, False)
    assert "reports" in house.switches.held("features")


async def test_secrets_in_a_reason_are_not_kept(house):
    await house.do("feature_off", "reports", reason="password=hunter2secret")
    assert "hunter2secret" not in repr((house.records, house.notes, house.switches.book))


async def test_what_is_over_is_given_back_and_said(house, wall):
    await house.do("feature_off", "reports", **{"for": 10})
    said = []
    house.picture.expire(NOW + 11, said.append)
    house.picture.look(0)
    assert said == ["feature reports: its time is over, what was held is given back"]
    assert house.picture.features[0].off is False
