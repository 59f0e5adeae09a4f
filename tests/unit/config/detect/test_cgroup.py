"""Limits of control groups, over recorded trees."""

from __future__ import annotations

import pytest

from roadworthy.config.detect.cgroup import limits, parse_cpu_max, parse_flat, parse_limit, parse_mounts, parse_quota

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "36 25 0:31 / /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory\n"
    "37 25 0:32 / /sys/fs/cgroup/cpu,cpuacct rw shared:11 - cgroup cgroup rw,cpu,cpuacct\n"
)
HYBRID = V1 + "38 25 0:33 / /sys/fs/cgroup/unified rw shared:12 - cgroup2 cgroup2 rw\n"
CONTAINER_V1 = (
    "700 690 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    "701 690 0:32 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n"
)
GIB = 1 << 30


def read(tree):
    return tree.get


def v2(path, **files):
    tree = {"/proc/self/mountinfo": V2, "/proc/self/cgroup": f"0::{path}\n"}
    for name, text in files.items():
        where, _, file = name.rpartition("__")
        base = "/sys/fs/cgroup" + ("/" + where.replace("__", "/") if where else "")
        tree[f"{base}/{file.replace('_', '.')}"] = text
    return tree


TABLE = [
    ("nothing readable", {}, (16 * GIB, 8.0, "")),
    ("v2 without limits", v2("/a", a__memory_max="max\n", a__cpu_max="max 100000\n"), (16 * GIB, 8.0, "")),
    (
        "v2 own limits",
        v2("/a", a__memory_max=str(GIB), a__cpu_max="50000 100000"),
        (GIB, 0.5, "cgroup memory, cgroup cpu"),
    ),
    (
        "v2 the parent is tighter",
        v2(
            "/a/b",
            a__b__memory_max=str(2 * GIB),
            a__memory_max=str(GIB),
            a__cpu_max="200000 100000",
            a__b__cpu_max="max 100000",
        ),
        (GIB, 2.0, "cgroup memory, cgroup cpu"),
    ),
    ("v2 a limit above the machine binds nobody", v2("/a", a__memory_max=str(64 * GIB)), (16 * GIB, 8.0, "")),
    (
        "v1 limits",
        {
            "/proc/self/mountinfo": V1,
            "/proc/self/cgroup": "5:memory:/app\n4:cpu,cpuacct:/app\n",
            "/sys/fs/cgroup/memory/app/memory.limit_in_bytes": str(GIB),
            "/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us": "150000",
            "/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us": "100000",
        },
        (GIB, 1.5, "cgroup memory, cgroup cpu"),
    ),
    (
        "v1 sentinels",
        {
            "/proc/self/mountinfo": V1,
            "/proc/self/cgroup": "5:memory:/app\n4:cpu,cpuacct:/app\n",
            "/sys/fs/cgroup/memory/app/memory.limit_in_bytes": "9223372036854771712",
            "/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us": "-1",
            "/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us": "100000",
        },
        (16 * GIB, 8.0, ""),
    ),
    (
        "hybrid: memory in v1, v2 without controllers",
        {
            "/proc/self/mountinfo": HYBRID,
            "/proc/self/cgroup": "5:memory:/app\n0::/app\n",
            "/sys/fs/cgroup/memory/app/memory.limit_in_bytes": str(GIB),
        },
        (GIB, 8.0, "cgroup memory"),
    ),
    (
        "v1 inside a container: the mount shows only its own part",
        {
            "/proc/self/mountinfo": CONTAINER_V1,
            "/proc/self/cgroup": "5:memory:/docker/abc\n4:cpu:/docker/abc\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": str(GIB),
        },
        (GIB, 8.0, "cgroup memory"),
    ),
]


@pytest.mark.parametrize(("name", "tree", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_the_tightest_limit_on_the_path_binds(name, tree, expected):
    found = limits(read(tree), host_memory=16 * GIB, host_cpus=8.0, affinity=8)
    assert (found.memory, found.cpus, found.by) == expected


def test_an_affinity_of_fewer_cpus_than_the_machine_has_binds():
    found = limits(read({}), host_memory=GIB, host_cpus=8.0, affinity=2)
    assert (found.cpus, found.by) == (2, "affinity")


def test_use_and_kills_come_from_the_group_that_binds():
    tree = v2(
        "/a",
        a__memory_max=str(GIB),
        a__memory_current="12345",
        a__memory_events="low 0\nhigh 3\nmax 9\noom 2\noom_kill 2\n",
    )
    found = limits(read(tree), host_memory=16 * GIB)
    assert (found.memory_used, found.oom_kills) == (12345, 2)


@pytest.mark.parametrize(
    ("text", "value"),
    [("max\n", None), ("1024\n", 1024), ("-1\n", None), ("", None), (None, None), (str(1 << 63), None)],
)
def test_a_limit_is_a_number_or_none(text, value):
    assert parse_limit(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("max 100000", None), ("50000 100000", 0.5), ("300000 100000", 3.0), ("", None), ("5 0", None)]
)
def test_cpu_max_is_quota_over_period(text, value):
    assert parse_cpu_max(text) == value


@pytest.mark.parametrize(
    ("quota", "period", "value"), [("-1", "100000", None), ("50000", "100000", 0.5), (None, None, None)]
)
def test_a_quota_of_minus_one_is_none(quota, period, value):
    assert parse_quota(quota, period) == value


def test_a_mount_table_with_other_things_in_it_is_read():
    text = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\nnonsense\n" + V2
    assert [entry[:2] for entry in parse_mounts(text)] == [("cgroup2", "/sys/fs/cgroup")]


def test_a_flat_file_gives_one_number_or_none():
    assert parse_flat("oom_kill_disable 0\noom_kill 7\n", "oom_kill") == 7
    assert parse_flat("other 1\n", "oom_kill") is None
