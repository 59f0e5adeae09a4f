"""When an agent counts as hung; time is an argument."""

from __future__ import annotations

import pytest

from roadworthy.keeper.beside import SILENT_MOST, Agent


@pytest.mark.parametrize(
    ("heard", "looks", "hung"),
    [
        (None, [1.0], False),  # it never gave a sign of life: its silence says nothing
        (100.0, [100.0 + SILENT_MOST], False),
        (100.0, [101.0 + SILENT_MOST], True),
        (100.0, [100.0, 101.0 + SILENT_MOST], False),  # it was us who were away
        (100.0, [100.0, 200.0, 201.0], False),
    ],
)
def test_an_agent_is_hung_when_it_is_silent_while_we_listen(heard, looks, hung):
    agent = Agent((), {}, "")
    agent.heard = heard
    agent.looked = looks[0] - 1.0
    assert [agent.hung(now) for now in looks][-1] is hung


def test_after_an_absence_of_ours_its_silence_counts_anew():
    agent = Agent((), {}, "")
    agent.heard, agent.looked = 100.0, 100.0
    seen = [now for now in range(500, 600) if agent.hung(float(now))]
    assert seen[0] == 500 + SILENT_MOST + 1
