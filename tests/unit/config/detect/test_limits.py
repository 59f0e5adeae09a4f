"""Limits from recorded trees: whatever binds tightest, on either version of cgroups, and what platforms declare."""

import pytest

from roadworthy.config.detect.limits import MOST_WORKERS, Bounds, bounds, suggested_workers
from roadworthy.config.detect.reader import Recorded

MIB, GIB = 1 << 20, 1 << 30
HOST = {"/proc/meminfo": f"MemTotal:       {16 * GIB // 1024} kB\nMemFree: 1 kB\n"}
V2 = {"/proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"}
V1_MOUNTS = (
    "36 25 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "37 25 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)
V1 = {"/proc/self/mountinfo": V1_MOUNTS}
HYBRID = {"/proc/self/mountinfo": V1_MOUNTS + "38 25 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"}
CG = "/sys/fs/cgroup"
KUBEPODS = f"{CG}/kubepods.slice/kubepods-burstable.slice"

TREES = [
    ("nothing but the host", {}, 8, 8, (8, "host", 16 * GIB, "host")),
    ("affinity", {}, 8, 2, (2, "CPU affinity", 16 * GIB, "host")),
    (
        "v2: docker run --cpus 1.5 --memory 512m",
        {**V2, "/proc/self/cgroup": "0::/\n", f"{CG}/cpu.max": "150000 100000\n", f"{CG}/memory.max": f"{512 * MIB}\n"},
        8, 8, (1.5, "cgroup quota", 512 * MIB, "cgroup limit"),
    ),
    (
        "v2: without limits",
        {**V2, "/proc/self/cgroup": "0::/\n", f"{CG}/cpu.max": "max 100000\n", f"{CG}/memory.max": "max\n"},
        8, 8, (8, "host", 16 * GIB, "host"),
    ),
    (
        "v2: memory.high is tighter than memory.max",
        {
            **V2, "/proc/self/cgroup": "0::/system.slice/shop.service\n",
            f"{CG}/system.slice/shop.service/memory.max": f"{2 * GIB}\n",
            f"{CG}/system.slice/shop.service/memory.high": f"{1 * GIB}\n",
        },
        8, 8, (8, "host", GIB, "cgroup memory.high"),
    ),
    (
        "v2: the slice above a systemd service is tighter",
        {
            **V2, "/proc/self/cgroup": "0::/system.slice/shop.service\n",
            f"{CG}/system.slice/shop.service/memory.max": "max\n", f"{CG}/system.slice/memory.max": f"{GIB}\n",
            f"{CG}/system.slice/shop.service/cpu.max": "400000 100000\n",
            f"{CG}/system.slice/cpu.max": "200000 100000\n",
        },
        8, 8, (2, "cgroup quota", GIB, "cgroup limit"),
    ),
    (
        "v2: a pod's container below its pod below the class",
        {
            **V2, "/proc/self/cgroup": "0::/kubepods.slice/kubepods-burstable.slice/pod1/cri-containerd-ab.scope\n",
            f"{KUBEPODS}/pod1/cri-containerd-ab.scope/cpu.max": "max 100000\n",
            f"{KUBEPODS}/pod1/cpu.max": "50000 100000\n",
            f"{KUBEPODS}/pod1/cri-containerd-ab.scope/memory.max": f"{256 * MIB}\n",
            f"{KUBEPODS}/memory.max": f"{8 * GIB}\n",
        },
        8, 8, (0.5, "cgroup quota", 256 * MIB, "cgroup limit"),
    ),
    (
        "v1: quota and limit",
        {
            **V1, "/proc/self/cgroup": "5:memory:/app\n4:cpu,cpuacct:/app\n",
            f"{CG}/memory/app/memory.limit_in_bytes": f"{GIB}\n",
            f"{CG}/cpu,cpuacct/app/cpu.cfs_quota_us": "300000\n", f"{CG}/cpu,cpuacct/app/cpu.cfs_period_us": "100000\n",
        },
        8, 8, (3, "cgroup quota", GIB, "cgroup limit"),
    ),
    (
        "v1: -1, the sentinel of 2^63, and a soft limit, which is none",
        {
            **V1, "/proc/self/cgroup": "5:memory:/app\n4:cpu,cpuacct:/app\n",
            f"{CG}/memory/app/memory.limit_in_bytes": "9223372036854771712\n",
            f"{CG}/memory/app/memory.soft_limit_in_bytes": f"{MIB}\n",
            f"{CG}/cpu,cpuacct/app/cpu.cfs_quota_us": "-1\n", f"{CG}/cpu,cpuacct/app/cpu.cfs_period_us": "100000\n",
        },
        8, 8, (8, "host", 16 * GIB, "host"),
    ),
    (
        "v1: the parent is tighter",
        {
            **V1, "/proc/self/cgroup": "5:memory:/a/b\n4:cpu,cpuacct:/a/b\n",
            f"{CG}/memory/a/b/memory.limit_in_bytes": f"{4 * GIB}\n",
            f"{CG}/memory/a/memory.limit_in_bytes": f"{GIB}\n",
            f"{CG}/cpu,cpuacct/a/cpu.cfs_quota_us": "100000\n", f"{CG}/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
        },
        8, 8, (1, "cgroup quota", GIB, "cgroup limit"),
    ),
    (
        "v1 in docker: the mount shows only its own part",
        {
            "/proc/self/mountinfo": (
                "700 690 0:31 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
                "701 690 0:32 /docker/ab /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n"
            ),
            "/proc/self/cgroup": "5:memory:/docker/ab\n4:cpu:/docker/ab\n",
            f"{CG}/memory/memory.limit_in_bytes": f"{GIB}\n",
            f"{CG}/cpu/cpu.cfs_quota_us": "200000\n", f"{CG}/cpu/cpu.cfs_period_us": "100000\n",
        },
        8, 8, (2, "cgroup quota", GIB, "cgroup limit"),
    ),
    (
        "hybrid: memory of version 1 beside a version 2 without controllers",
        {
            **HYBRID, "/proc/self/cgroup": "5:memory:/app\n4:cpu,cpuacct:/\n0::/app\n",
            f"{CG}/memory/app/memory.limit_in_bytes": f"{GIB}\n",
            f"{CG}/unified/app/cpu.max": "100000 100000\n",
        },
        8, 8, (1, "cgroup quota", GIB, "cgroup limit"),
    ),
    (
        "a limit above the machine binds nobody",
        {**V2, "/proc/self/cgroup": "0::/\n", f"{CG}/memory.max": f"{64 * GIB}\n", f"{CG}/cpu.max": "1600000 100000\n"},
        8, 8, (8, "host", 16 * GIB, "host"),
    ),
    (
        "nonsense is unknown",
        {**V2, "/proc/self/cgroup": "nonsense\n0::/\n", f"{CG}/memory.max": "much\n", f"{CG}/cpu.max": "50 0\n"},
        8, 8, (8, "host", 16 * GIB, "host"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "tree", "cpus", "affinity", "expected"), TREES, ids=[row[0] for row in TREES])
def test_the_tightest_limit_binds_and_is_named(name, tree, cpus, affinity, expected):
    found = bounds(Recorded(files={**HOST, **tree}, cpus=cpus, affinity=affinity))
    assert (found.cpus, found.cpus_by, found.memory, found.memory_by) == expected
    assert (found.host_cpus, found.host_memory, found.affinity) == (cpus, 16 * GIB, affinity)


@pytest.mark.parametrize(
    ("environ", "cpus", "memory", "by"),
    [
        ({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769"}, 1.0, 1769 * MIB, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
        ({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128"}, 0.07, 128 * MIB, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
        ({"RENDER_CPU_COUNT": "0.5"}, 0.5, 16 * GIB, "RENDER_CPU_COUNT"),
        ({"RENDER_CPU_COUNT": "many"}, 8, 16 * GIB, "host"),
        ({"RENDER_CPU_COUNT": "inf", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "-3"}, 8, 16 * GIB, "host"),
    ],
)
def test_what_lambda_and_render_declare_binds_too(environ, cpus, memory, by):
    found = bounds(Recorded(environ, HOST, cpus=8, affinity=8))
    assert (found.cpus, found.memory, found.cpus_by) == (cpus, memory, by)


def test_what_cannot_be_read_is_unknown_and_not_zero():
    assert bounds(Recorded()) == Bounds()
    assert bounds(Recorded(files={"/proc/meminfo": "MemTotal: much kB\n"})).memory is None


@pytest.mark.parametrize(
    ("found", "each", "count", "why"),
    [
        (Bounds(cpus=8, cpus_by="host", memory=16 * GIB), 128 * MIB, 8, "one for each whole CPU of 8 (host)"),
        (Bounds(cpus=1.5, cpus_by="cgroup quota", memory=GIB), 128 * MIB, 1, "of 1.5 (cgroup quota)"),
        (Bounds(cpus=0.25, cpus_by="cgroup quota"), 128 * MIB, 1, "of 0.25"),
        (
            Bounds(cpus=8, memory=512 * MIB, memory_by="cgroup limit"),
            256 * MIB,
            2,
            "256 MiB each, and there are 512 MiB",
        ),
        (Bounds(cpus=8, memory=10 * MIB, memory_by="cgroup limit"), 256 * MIB, 1, "256 MiB each"),
        (Bounds(cpus=256, memory=1 << 45), 128 * MIB, MOST_WORKERS, "for people to decide"),
        (Bounds(memory=GIB), 128 * MIB, 1, "not known"),
    ],
)
def test_workers_are_as_many_as_whole_cpus_and_memory_allow(found, each, count, why):
    told = suggested_workers(found, memory_each=each)
    assert told[0] == count
    assert why in told[1]
