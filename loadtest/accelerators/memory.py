"""Memory in use on a device, asked of NVIDIA's management library; on the CPU it is this process's own."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Protocol

from loadtest.accelerators.errors import DeviceError
from server.resources import give_back_memory, resident_bytes

LIBRARY = "libnvidia-ml.so.1"


class Memory(Protocol):
    """Memory of one device."""

    name: str

    def used(self) -> int:
        """Bytes in use now."""


class HostMemory:
    """Resident memory of this process, after what is free was handed back as the server does behind a swap."""

    name = "resident memory of this process"

    def used(self) -> int:
        """Bytes."""
        give_back_memory()
        return resident_bytes()


class _MemoryInfo(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class DeviceMemory:
    """Memory of one NVIDIA GPU: all of it in use by anyone, so nothing else should run there.

    `number` is onnxruntime's `device_id`: it counts the devices that CUDA_VISIBLE_DEVICES leaves. Raises DeviceError.
    """

    def __init__(self, number: int = 0, library: Any = None, visible: str | None = None) -> None:
        self._library = _library() if library is None else library
        self._check("nvmlInit_v2")
        self._handle = self._device(number, os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible)
        text = ctypes.create_string_buffer(96)
        self._check("nvmlDeviceGetName", self._handle, text, ctypes.c_uint(len(text)))
        self.name = f"memory in use on {text.value.decode(errors='replace')}"

    def used(self) -> int:
        """Bytes."""
        give_back_memory()
        info = _MemoryInfo()
        self._check("nvmlDeviceGetMemoryInfo", self._handle, ctypes.byref(info))
        return int(info.used)

    def _device(self, number: int, visible: str | None) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        entries = [entry.strip() for entry in visible.split(",")] if visible else []
        if entries and number >= len(entries):
            raise DeviceError(f"device {number} is asked for, CUDA_VISIBLE_DEVICES is {visible!r}")
        entry = entries[number] if entries else str(number)
        if entry.isdecimal():
            self._check("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(int(entry)), ctypes.byref(handle))
        else:
            self._check("nvmlDeviceGetHandleByUUID", entry.encode(), ctypes.byref(handle))
        return handle

    def _check(self, function: str, *arguments: object) -> None:
        status = getattr(self._library, function)(*arguments)
        if status != 0:
            raise DeviceError(f"{LIBRARY}: {function} gives status {status}, expected 0")


def _library() -> Any:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise DeviceError(f"memory of the device cannot be asked for: {error}") from error
