"""Time slices: given where the kernel has them, kept by the thread, not by those it starts."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from server import time_slices as promptness

GETATTR = {"x86_64": 315, "aarch64": 275}


def slice_ns() -> int:
    """What the kernel says of the calling thread."""
    libc: Any = ctypes.CDLL(None)
    found = promptness.Attributes()
    assert libc.syscall(GETATTR[platform.machine()], 0, ctypes.byref(found), ctypes.sizeof(found), 0) == 0
    return int(found.runtime)


def in_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in GETATTR, reason="Linux only")
def test_a_slice_is_the_threads_own() -> None:
    found: dict[str, int] = {}

    def prompt() -> None:
        found["before"] = slice_ns()
        found["given"] = int(promptness.prefer_soon())
        found["after"] = slice_ns()
        in_thread(lambda: found.update(child=slice_ns()))
        found["nice"] = os.getpriority(os.PRIO_PROCESS, 0)

    in_thread(prompt)
    if found["before"] == 0:
        pytest.skip("this kernel tells no slices: before 6.12")
    assert found["given"]
    assert found["after"] == promptness.PROMPT_NS
    assert found["child"] == found["before"] != found["after"]
    assert found["nice"] == os.getpriority(os.PRIO_PROCESS, 0)


def test_where_there_is_no_such_call_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "s390x")
    assert not promptness.prefer_soon()
    assert not promptness.prefer_late()


def test_a_priority_that_children_would_lose_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpriority", lambda *of: -5)
    assert not promptness.prefer_soon()
