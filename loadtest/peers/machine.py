"""The machine's line: what a figure must be read with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import msgspec


class Machine(msgspec.Struct, frozen=True):
    """Where and when the figures were taken. `load` is the 1-minute load average before the first of them."""

    cpu: str
    cores: int
    kernel: str
    python: str
    onnxruntime: str
    date: str
    load: float

    def line(self) -> str:
        """One sentence for a table's head."""
        return (
            f"{self.cpu}, {self.cores} cores, Linux {self.kernel}, Python {self.python}, "
            f"onnxruntime {self.onnxruntime}, {self.date}, load average before {self.load:.2f}"
        )


def this_machine() -> Machine:
    """The machine that runs this program, now."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=platform.python_version(),
        onnxruntime=_onnxruntime(),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        load=os.getloadavg()[0],
    )


def busy_s() -> float:
    """Processor seconds that all processes have used since boot, and those that a hypervisor took away."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    user, nice, system, steal = (int(fields[index]) for index in (1, 2, 3, 8))
    return (user + nice + system + steal) / os.sysconf("SC_CLK_TCK")


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _onnxruntime() -> str:
    for package in ("onnxruntime-gpu", "onnxruntime"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "not installed"
