"""Cost curves: exponents, sizes, and a real one."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from loadtest.bench.cli import main
from loadtest.bench.curves import MODELS, ROWS, Curves, Point, curve, thinned
from loadtest.bench.exponent import exponent
from loadtest.bench.text import curves_text
from loadtest.peers.machine import this_machine


def _point(size: int, rps: float, p50_ms: float) -> Point:
    return Point(
        size=size, busy_rps=rps, busy_p99_ms=1.0, alone_p50_ms=p50_ms, errors=0, others=0.0, rss_mib=90.0, start_s=1.0
    )


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_its_power(power: float) -> None:
    sizes = [1, 2, 8, 32]
    assert exponent(sizes, [3.0 * size**power for size in sizes]) == pytest.approx(power, abs=1e-9)


@pytest.mark.parametrize(("sizes", "costs"), [([], []), ([4], [1.0]), ([4, 4], [1.0, 2.0]), ([1, 2], [0.0, 1.0])])
def test_without_two_sizes_there_is_no_exponent(sizes: list[float], costs: list[float]) -> None:
    assert exponent(sizes, costs) is None


def test_a_curve_fits_time_when_busy_and_latency_when_alone() -> None:
    found = curve("members", [_point(1, 4000.0, 0.2), _point(4, 1000.0, 0.4)])
    assert found.time_exponent == pytest.approx(1.0)
    assert found.latency_exponent == pytest.approx(0.5)


def test_a_size_at_which_nothing_was_answered_is_left_out_of_the_fit() -> None:
    found = curve("rows", [_point(1, 4000.0, 0.2), _point(2, 0.0, 0.2), _point(4, 1000.0, 0.4)])
    assert found.time_exponent == pytest.approx(1.0)


def test_quick_takes_every_other_size_and_both_ends() -> None:
    assert thinned(ROWS, quick=True) == [1, 4, 16, 64, 256, 512]
    assert thinned(MODELS, quick=False) == [1, 3, 10, 30, 100]


def test_the_text_names_the_exponents() -> None:
    made = curve("members", [_point(1, 4000.0, 0.2), _point(4, 1000.0, 0.4)])
    text = curves_text(Curves(machine=this_machine(), load_after=0.1, seconds=1, curves=[made]))
    assert "Seconds per request, busy, grow with exponent 1.00; median latency alone with 0.5." in text
    assert "| 4 | 1,000 |" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--curves", "cores"], "unknown 'cores'; there are members, rows"), (["--seconds", "0"], "--seconds is 0")],
)
def test_a_wrong_option_is_named_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["curves", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_a_curve_is_measured_on_a_real_server_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert main(["curves", "--curves", "rows", "--out", str(tmp_path)]) == 0
    (found,) = msgspec.json.decode((tmp_path / "curves.json").read_bytes(), type=Curves).curves
    assert [point.size for point in found.points] == [1, 4, 16, 64, 256, 512]
    assert sum(point.errors for point in found.points) == 0
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
