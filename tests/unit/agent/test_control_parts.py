"""What a program tells of policies, services and features over the agent's socket, and how it is asked to recover."""

from __future__ import annotations

import asyncio

import pytest

from roadworthy import _known
from roadworthy.errors import Unavailable
from roadworthy.log.redact import redact
from unit.agent.test_states_control import HELLO, served, until

PARTS = {
    "policies": [{"name": "db", "breaker": {"state": "closed"}}],
    "services": [{"name": "database", "recover": True}],
    "features": [{"name": "reports", "off": False}],
}


def test_what_is_declared_is_known_with_its_process_and_slot(tmp_path):
    async def act(control, connect):
        app = await connect()
        await app.tell({**HELLO, **PARTS})
        await until(lambda: control.declared("policies"))
        for kind, told in PARTS.items():
            (found,) = control.declared(kind)
            assert (found.slot, found.name, found.told) == (0, told[0]["name"], told[0])
        await app.tell({"declare": {**PARTS, "features": []}})
        await until(lambda: not control.declared("features"))
        assert control.declared("services")
        app.writer.close()
        await until(lambda: not control.declared("services"))

    served(tmp_path, act)


@pytest.mark.parametrize("nonsense", [7, "x", {}, [7, "x", None, {}, {"name": 7}, {"name": None}], [[]]])
def test_nonsense_declares_nothing_and_ends_nothing(tmp_path, nonsense):
    async def act(control, connect):
        app = await connect()
        await app.tell({**HELLO, "policies": nonsense, "services": nonsense, "features": nonsense})
        await until(control.declared_checks)
        assert [control.declared(kind) for kind in PARTS] == [[], [], []]

    served(tmp_path, act)


def test_of_one_process_no_more_than_256_of_a_kind_are_believed(tmp_path):
    async def act(control, connect):
        app = await connect()
        await app.tell({**HELLO, "features": [{"name": f"f{number}"} for number in range(300)]})
        await until(lambda: control.declared("features"))
        assert len(control.declared("features")) == 256

    served(tmp_path, act)


def test_a_process_is_asked_to_recover_and_its_answer_comes_back(tmp_path):
    async def act(control, connect):
        app = await connect()
        await app.tell({**HELLO, **PARTS})
        await until(lambda: control.declared("services"))
        pid = control.declared("services")[0].pid
        asked = asyncio.create_task(control.recover(pid, "database", 10.0))
        message = await app.hear()
        assert (message["do"], message["name"]) == ("recover", "database")
        await app.tell({"id": message["id"], "ok": True, "detail": "reconnected", "took": 0.2})
        assert (await asked)["detail"] == "reconnected"

    served(tmp_path, act)


def test_a_process_that_dies_while_it_recovers_has_not_recovered(tmp_path):
    async def act(control, connect):
        app = await connect()
        await app.tell({**HELLO, **PARTS})
        await until(lambda: control.declared("services"))
        asked = asyncio.create_task(control.recover(control.declared("services")[0].pid, "database", 10.0))
        await app.hear()
        app.writer.close()
        with pytest.raises(Unavailable, match="hung up"):
            await asked

    served(tmp_path, act)


def test_secret_values_that_a_program_tells_are_taken_out_of_what_it_prints_and_nonsense_is_none(tmp_path):
    _known.forget()

    async def act(control, connect):
        app = await connect()
        await app.tell(HELLO)
        await app.tell({"known": ["kingfisher-no-5", 7, None, {}, ""]})
        await app.tell({"known": "nonsense"})
        await until(lambda: redact("it is kingfisher-no-5") == "it is [redacted]")
        assert _known.values == ("kingfisher-no-5",)

    served(tmp_path, act)
    _known.forget()
