"""``roadworthy detect``: for people, in two lines, and as JSON."""

import json
import os

import pytest
from click.testing import CliRunner

from roadworthy.cli.detect import detect as command
from roadworthy.config.detect.limits import Bounds
from roadworthy.config.detect.reader import Recorded
from roadworthy.errors import UsageError

FILES = {
    "/proc/meminfo": "MemTotal: 16777216 kB\n",
    "/.dockerenv": "",
    "/proc/self/mountinfo": (
        "1 0 0:1 / / rw - overlay overlay rw\n30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    ),
    "/proc/self/cgroup": "0::/\n",
    "/sys/fs/cgroup/memory.max": str(512 << 20),
}


@pytest.fixture
def place(monkeypatch):
    def become(environ, files=FILES, **more):
        monkeypatch.setattr("roadworthy.cli.detect.Reader", lambda: Recorded(environ, files, **more))

    become({"AWS_REGION": "eu-west-1"}, cpus=8, affinity=2)
    return become


def ask(*arguments):
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_two_lines_answer_the_question(place):
    assert ask("--short") == "Environment: container\nPlatform: docker\n"
    assert ask("--short", "--environment", "cloud").startswith("Environment: cloud\n")


def test_everything_is_told_with_its_evidence(place):
    output = ask()
    for line in (
        "Stage: production (assumed because nothing says it and the type is container)",
        "  docker                     Docker",
        "                             /.dockerenv is there, and / is overlay",
        "  CI                         none",
        "  CPUs                       2 by CPU affinity; the machine has 8, 2 of them may be used",
        "  memory                     512 MiB by cgroup limit; the machine has 16.0 GiB",
        "  workers that fit           2: one for each whole CPU of 2 (CPU affinity)",
        "                             CLOUD_DEPLOYMENT=true",
        "  AWS_REGION                 people set it on their own machines, and nothing here is of AWS alone",
    ):
        assert line in output.splitlines()
    assert "overruled by --environment staging" in ask("--environment", "staging")
    assert "2: one for" not in ask("--worker-memory", "400")


def test_what_is_not_known_is_called_unknown(place):
    place({}, {})
    output = ask()
    assert "  CPUs                       unknown" in output
    assert "  memory                     unknown" in output
    assert "Looks like evidence" not in output


def test_machines_get_one_json_object(place):
    found = json.loads(ask("--json", "--environment", "production"))
    assert (found["environment"], found["platform"], found["stage"]) == ("container", "docker", "production")
    assert found["matches"][0]["evidence"][0] == {"source": "/.dockerenv", "said": "is there, and / is overlay"}
    assert found["limits"]["memory"] == 512 << 20
    assert set(found["limits"]) == set(Bounds.__slots__)
    assert found["workers"]["suggested"] == 2
    assert found["profile"]["values"]["WORKERS"] == "4"
    assert found["passed_over"][0]["source"] == "AWS_REGION"


def test_a_word_that_is_no_environment_is_one_clear_error(place):
    with pytest.raises(UsageError, match="no environment"):
        ask("--environment", "moon")


def test_this_machine_is_told():
    assert f"the machine has {os.cpu_count()}" in ask()
