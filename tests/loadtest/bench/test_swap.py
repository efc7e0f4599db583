"""Swaps, overload and what is compared with them against a real `tutti serve`."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from loadtest.bench.beside import Beside
from loadtest.bench.checkouts import Checkouts
from loadtest.bench.cli import main
from loadtest.bench.many_rows import ManyRows
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


def test_the_generator_may_have_a_core_of_its_own(tmp_path: Path) -> None:
    assert main(["overload", "--duration", "8", "--ensemble", "cnn", "--apart", "--out", str(tmp_path)]) == 0
    assert len(os.sched_getaffinity(0)) == os.cpu_count(), "given back"


def test_many_rows_are_compared_with_the_runtime_alone(tmp_path: Path) -> None:
    assert main(["rows", "--rows", "8", "--seconds", "1", "--rounds", "1", "--out", str(tmp_path)]) == 0
    found = msgspec.json.decode((tmp_path / "rows.json").read_bytes(), type=ManyRows)
    assert found.rows == 8
    assert found.served_rows_per_s > 0
    assert found.ratio == pytest.approx(found.served_rows_per_s / found.bare_rows_per_s)


def test_a_second_ensemble_beside_the_first_is_served_and_measured(tmp_path: Path) -> None:
    assert main(["beside", "--seconds", "1", "--rounds", "1", "--out", str(tmp_path)]) == 0
    found = msgspec.json.decode((tmp_path / "beside.json").read_bytes(), type=Beside)
    assert found.ratio == pytest.approx(found.beside_p50_ms / found.alone_p50_ms)
    assert (found.busy, found.busy_rps) == (0, 0.0)


def test_a_second_ensemble_that_is_saturated_is_measured_beside_the_first(tmp_path: Path) -> None:
    command = ["beside", "--seconds", "2", "--rounds", "1", "--busy", "8", "--second", "mid", "--out", str(tmp_path)]
    assert main(command) == 0
    found = msgspec.json.decode((tmp_path / "beside.json").read_bytes(), type=Beside)
    assert (found.second, found.busy) == ("mid", 8)
    assert found.busy_rps > 0
    assert found.p99_ratio == pytest.approx(found.beside_p99_ms / found.alone_p99_ms)


def test_a_checkout_is_measured_beside_another(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[3])
    assert main(["checkouts", "--before", root, "--seconds", "1", "--rounds", "1", "--out", str(tmp_path)]) == 0
    found = msgspec.json.decode((tmp_path / "checkouts.json").read_bytes(), type=Checkouts)
    assert {(one.protocol, one.connections) for one in found.pairs} == {
        ("json", 64), ("json", 1), ("binary", 64), ("binary", 1),
    }  # fmt: skip
    assert all(one.before_rps > 0 and one.now_rps > 0 for one in found.pairs)
