"""Limits of cgroups, read from made-up roots: no real group is touched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from server import cgroups, resources

MB = 1_000_000
UNLIMITED_V1 = {
    "cpu/cpu.cfs_quota_us": "-1",
    "cpu/cpu.cfs_period_us": "100000",
    "memory/memory.limit_in_bytes": "9223372036854771712",
}


class Fake:
    """A `/proc/self` and a `/sys/fs/cgroup` of files."""

    def __init__(self, root: Path, own: str, files: Mapping[str, str], mounts: str = "") -> None:
        self.proc, self.usual = root / "proc", root / "cgroup"
        self.proc.mkdir()
        self.usual.mkdir()
        (self.proc / "cgroup").write_text(own + "\n")
        (self.proc / "mountinfo").write_text(mounts.replace("CGROUP", str(self.usual)))
        for name, text in files.items():
            path = self.usual / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")

    def limits(self) -> tuple[float | None, int | None]:
        return cgroups.quota_cores(self.proc, self.usual), cgroups.memory_bytes(self.proc, self.usual)


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/", {"cpu.max": "150000 100000", "memory.max": "160000000"}),
        (
            "0::/system.slice/tutti.service",
            {
                "system.slice/tutti.service/cpu.max": "150000 100000",
                "system.slice/tutti.service/memory.max": "160000000",
            },
        ),
        (
            "0::/a.slice/b.slice/c.service",
            {
                "a.slice/cpu.max": "150000 100000",
                "a.slice/b.slice/memory.max": "160000000",
                "a.slice/b.slice/c.service/cpu.max": "400000 100000",
                "a.slice/b.slice/c.service/memory.max": "max",
            },
        ),
        (
            "4:memory:/\n1:cpu,cpuacct:/",
            {
                "cpu/cpu.cfs_quota_us": "150000",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": "160000000",
            },
        ),
        (
            "4:memory:/docker/7\n1:cpu,cpuacct:/docker/7",
            {
                **UNLIMITED_V1,
                "cpu/docker/7/cpu.cfs_quota_us": "150000",
                "cpu/docker/7/cpu.cfs_period_us": "100000",
                "memory/docker/7/memory.limit_in_bytes": "160000000",
            },
        ),
        (
            "4:memory:/pods/1/c\n1:cpuacct,cpu:/pods/1/c",
            {
                **UNLIMITED_V1,
                "cpuacct,cpu/pods/1/cpu.cfs_quota_us": "150000",
                "cpuacct,cpu/pods/1/cpu.cfs_period_us": "100000",
                "cpuacct,cpu/pods/1/c/cpu.cfs_quota_us": "-1",
                "memory/pods/memory.limit_in_bytes": "160000000",
            },
        ),
    ],
    ids=["v2 root", "v2 nested", "v2 on ancestors", "v1 root", "v1 nested", "v1 on ancestors"],
)
def test_the_smallest_limit_from_the_own_group_up_to_the_root_holds(
    tmp_path: Path, own: str, files: Mapping[str, str]
) -> None:
    assert Fake(tmp_path, own, files).limits() == (1.5, 160 * MB)


def test_a_container_whose_mount_begins_at_its_own_group_is_limited_by_it(tmp_path: Path) -> None:
    fake = Fake(
        tmp_path,
        "4:memory:/docker/7/inner\n1:cpu,cpuacct:/docker/7/inner",
        {
            "memory/memory.limit_in_bytes": "200000000",
            "memory/inner/memory.limit_in_bytes": "160000000",
            "cpu,cpuacct/inner/cpu.cfs_quota_us": "50000",
            "cpu,cpuacct/inner/cpu.cfs_period_us": "100000",
        },
        "33 30 0:27 /docker/7 CGROUP/memory ro,nosuid master:9 - cgroup cgroup rw,memory\n"
        "34 30 0:28 /docker/7 CGROUP/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n",
    )
    assert fake.limits() == (0.5, 160 * MB)


def test_a_hierarchy_that_is_mounted_elsewhere_is_found(tmp_path: Path) -> None:
    fake = Fake(
        tmp_path,
        "0::/unit",
        {"my groups/unit/memory.max": "160000000", "my groups/cpu.max": "200000 100000"},
        "33 30 0:27 / CGROUP/my\\040groups rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
    )
    assert fake.limits() == (2.0, 160 * MB)


def test_both_versions_side_by_side_are_looked_at(tmp_path: Path) -> None:
    fake = Fake(
        tmp_path,
        "4:memory:/u\n0::/u",
        {"memory/u/memory.limit_in_bytes": "160000000", "unified/u/cpu.max": "100000 100000"},
    )
    assert fake.limits() == (1.0, 160 * MB)


def test_what_the_kernel_counts_of_groups_above_the_mount_holds(tmp_path: Path) -> None:
    stat = "cache 0\nhierarchical_memory_limit 160000000\nhierarchical_memsw_limit 9223372036854771712"
    files = {"memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.stat": stat}
    assert Fake(tmp_path, "4:memory:/", files).limits() == (None, 160 * MB)


@pytest.mark.parametrize("own", ["", "0::/", "0::/../elsewhere", "nonsense", "4:memory:/gone\n1:cpu:/gone"])
def test_without_a_limit_there_is_none(tmp_path: Path, own: str) -> None:
    files = {"cpu.max": "max 100000", "memory.max": "max", "cpu/cpu.cfs_quota_us": "-1", "elsewhere/memory.max": "1"}
    assert Fake(tmp_path, own, files).limits() == (None, None)


def test_what_this_process_may_use_is_at_least_a_core_and_some_memory() -> None:
    assert resources.cores() >= 1
    assert resources.memory_limit_bytes() > 0
