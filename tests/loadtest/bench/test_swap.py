"""Swaps and overload against a real `tutti serve`."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from loadtest.bench.cli import main
from loadtest.bench.overload import Overload
from loadtest.bench.swap import Swap

pytestmark = pytest.mark.soak


def test_both_kinds_of_version_are_swapped_without_a_failed_request(tmp_path: Path) -> None:
    assert main(["swap", "--ensemble", "wide", "--duration", "4", "--swaps", "1", "--out", str(tmp_path)]) == 0
    found = msgspec.json.decode((tmp_path / "swap.json").read_bytes(), type=list[Swap])
    assert [one.kind for one in found] == ["shared members", "new members"]
    for one in found:
        assert (one.swaps.swaps, one.failures) == (1, 0)
        assert one.swaps.publish_to_first_answer_median_ms is not None


def test_an_overload_is_refused_with_a_time_to_come_back(tmp_path: Path) -> None:
    assert main(["overload", "--duration", "12", "--out", str(tmp_path)]) == 0
    found = msgspec.json.decode((tmp_path / "overload.json").read_bytes(), type=Overload)
    assert found.refused > 0
    assert set(found.outcomes) == {"ok", "refused"}
    assert found.probes_refused == found.probes_with_retry_after > 0
