"""Memory of a device, asked of a stand-in for NVIDIA's library: which device, which calls, which errors."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from loadtest.accelerators.errors import DeviceError
from loadtest.accelerators.memory import DeviceMemory, HostMemory


class Nvml:
    """The five functions that are used; `failing` gives status 999."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.asked: list[object] = []
        self.used = 3 << 30

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return self._status("nvmlInit_v2")

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> int:  # noqa: N802
        self.asked.append(index.value)
        handle._obj.value = 7
        return self._status("nvmlDeviceGetHandleByIndex_v2")

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:  # noqa: N802
        self.asked.append(uuid)
        handle._obj.value = 7
        return 0

    def nvmlDeviceGetName(self, handle: Any, text: Any, size: Any) -> int:  # noqa: N802
        assert (handle.value, size.value) == (7, len(text))
        text.value = b"Stand-in 9000"
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: Any, info: Any) -> int:  # noqa: N802
        assert handle.value == 7
        assert ctypes.sizeof(info._obj) == 24
        info._obj.used = self.used
        return self._status("nvmlDeviceGetMemoryInfo")

    def _status(self, function: str) -> int:
        return 999 if function == self.failing else 0


def test_the_device_is_named_and_its_memory_is_read_anew_each_time() -> None:
    library = Nvml()
    memory = DeviceMemory(0, library, visible="")
    assert memory.name == "memory in use on Stand-in 9000"
    assert memory.used() == 3 << 30
    library.used = 5 << 30
    assert memory.used() == 5 << 30


@pytest.mark.parametrize(
    ("number", "visible", "asked"),
    [(0, "", 0), (2, "", 2), (0, "3", 3), (1, "3, 5", 5), (1, "3,GPU-ab12", b"GPU-ab12")],
)
def test_numbers_count_the_devices_that_cuda_sees(number: int, visible: str, asked: object) -> None:
    library = Nvml()
    DeviceMemory(number, library, visible)
    assert library.asked == [asked]


def test_a_device_that_cuda_does_not_see_is_refused() -> None:
    with pytest.raises(DeviceError, match="device 1 is asked for, CUDA_VISIBLE_DEVICES is '3'"):
        DeviceMemory(1, Nvml(), "3")


@pytest.mark.parametrize("function", ["nvmlInit_v2", "nvmlDeviceGetHandleByIndex_v2"])
def test_a_call_that_fails_is_named(function: str) -> None:
    with pytest.raises(DeviceError, match=f"{function} gives status 999, expected 0"):
        DeviceMemory(0, Nvml(function), "")


def test_memory_that_cannot_be_read_is_no_number() -> None:
    memory = DeviceMemory(0, Nvml("nvmlDeviceGetMemoryInfo"), "")
    with pytest.raises(DeviceError, match="nvmlDeviceGetMemoryInfo gives status 999"):
        memory.used()


def test_the_host_counts_its_own() -> None:
    assert HostMemory().used() > 1 << 20
