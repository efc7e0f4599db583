"""When memory is flat, and swaps between two real versions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from loadtest.accelerators import swapping
from loadtest.accelerators.swapping import Swaps, settling, swap
from loadtest.accelerators.versions import Versions, open_version
from loadtest.accelerators.ways import ways
from model_repo import Provider
from server.runtime import LoadedEnsemble, SessionPool

MIB = 1 << 20
BUFFERS = ways("cpu", {})[-1]


def swaps(used: list[int], wrong: int = 0) -> Swaps:
    return Swaps(way="plain", memory="a device", used_bytes=used, wrong=wrong)


class Growing:
    """Memory that a leak of so many bytes a swap would show."""

    name = "a leaking device"

    def __init__(self, step: int) -> None:
        self._step = step
        self.reads = 0

    def used(self) -> int:
        self.reads += 1
        return 1000 * MIB + self.reads * self._step


@pytest.mark.parametrize(("count", "settled"), [(1, 0), (9, 0), (50, 5), (200, 20), (1000, 20)])
def test_the_first_swaps_are_not_judged(count: int, settled: int) -> None:
    assert settling(count) == settled


def test_memory_is_flat_when_only_the_first_swaps_grow() -> None:
    found = swaps([k * 50 * MIB for k in range(20)] + [1000 * MIB + k % 3 * 20 * MIB for k in range(180)])
    assert found.spread_bytes == 40 * MIB
    assert found.good


def test_a_leak_of_half_a_megabyte_a_swap_is_seen() -> None:
    found = swaps([1000 * MIB + k * MIB // 2 for k in range(200)])
    assert not found.good
    assert found.growth_bytes == pytest.approx(81 * MIB, rel=0.02)


def test_a_wrong_answer_is_not_good_however_flat() -> None:
    assert not swaps([1000 * MIB] * 200, wrong=1).good


def test_versions_take_turns_and_each_answers_for_itself(versions: Versions) -> None:
    found = swap(versions, BUFFERS, 3, Growing(0))
    assert (found.way, found.wrong, found.good) == ("buffers", 0, True)
    assert found.used_bytes == [1000 * MIB] * 3


def test_memory_is_read_after_each_swap_and_growth_is_told(versions: Versions) -> None:
    memory = Growing(40 * MIB)
    found = swap(versions, BUFFERS, 3, memory)
    assert memory.reads == 3
    assert found.spread_bytes == 80 * MIB
    assert not found.good


def test_an_answer_of_the_old_version_is_counted(versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(versions: Versions, number: int, pool: SessionPool, providers: Sequence[Provider] = ()) -> LoadedEnsemble:
        return open_version(versions, 1, pool, providers)

    monkeypatch.setattr(swapping, "open_version", stuck)
    found = swap(versions, BUFFERS, 3, Growing(0))
    assert found.wrong == 2, "swaps 1 and 3 were to version 2"
    assert not found.good
