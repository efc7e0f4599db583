"""`python -m loadtest.gpu`: the whole of it on the CPU, what it says without a GPU, what it calls wrong."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from loadtest.accelerators.correctness import compare, compared_rows
from loadtest.accelerators.errors import DeviceError
from loadtest.accelerators.speed import BARE, MIXED
from loadtest.accelerators.text import Sitting
from loadtest.accelerators.versions import Versions, published
from loadtest.accelerators.ways import require, ways
from loadtest.gpu import main
from server.runtime.datatypes import Array
from server.runtime.sessions import batch_buckets as buckets

SHORT = ["--provider", "cpu", "--ensemble", "tiny", "--seconds", "0.01"]


def without_gpu() -> bool:
    try:
        require(ways("cuda", {})[0])
    except DeviceError:
        return True
    return False


def test_without_a_gpu_it_says_so_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    if not without_gpu():
        pytest.skip("this machine has a working CUDA")
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(
        "loadtest.gpu: no device to measure: asked for CUDAExecutionProvider, the session runs on CPU"
    )
    assert "--provider cpu" in err


def test_on_the_cpu_it_compares_times_and_swaps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SHORT, "--sizes", "1,5", "--swaps", "4", "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out/gpu.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == text
    found = msgspec.json.decode((tmp_path / "out/gpu.json").read_bytes(), type=Sitting)
    assert found.good
    assert [(one.way, one.problem) for one in found.agreements] == [("plain", ""), ("buckets", ""), ("buffers", "")]
    assert {(one.way, one.rows) for one in found.figures} == {
        (way, rows) for way in (BARE, "plain", "buckets", "buffers") for rows in (1, 5, MIXED)
    }
    assert all(one.rows_per_s > 0 and one.p50_ms <= one.p99_ms for one in found.figures)
    assert [one.bare_ratio is None for one in found.figures] == [one.way == BARE for one in found.figures]
    assert found.swaps is not None
    assert len(found.swaps.used_bytes) == 4
    assert "4 swaps, buffers: resident memory of this process" in text
    assert "| mixed |" in text


def test_a_way_that_answers_wrongly_is_told_and_neither_timed_nor_swapped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padding that writes over the last row: the golden rows or the comparison must see it."""

    def careless(array: Array, rows: int) -> Array:
        larger = np.zeros((rows, *array.shape[1:]), array.dtype)
        larger[: len(array) - 1] = array[:-1]
        return larger

    monkeypatch.setattr(buckets, "padded", careless)
    assert main([*SHORT, "--sizes", "1", "--swaps", "1"]) == 1
    out = capsys.readouterr().out
    assert "| rows | onnxruntime alone | plain |\n" in out
    assert "| plain | " in out
    assert out.count("| good |") == 1
    assert "1 swaps, plain:" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--provider", "cpu", "--graphs"], "--graphs: CPUExecutionProvider has no CUDA graphs; CUDAExecutionProvider"),
        (["--provider", "cpu", "--option", "x"], "--option 'x'; expected KEY=VALUE"),
        (["--provider", "cpu", "--sizes", "1,x"], "--sizes '1,x'; expected numbers such as 1,8,64"),
        (["--provider", "cpu", "--sizes", "65"], "--sizes '65'; expected 1 to 64 rows"),
        (["--provider", "cpu", "--swaps", "-1"], "--swaps is -1; expected at least 0"),
        ([*SHORT, "--buckets", "8,1"], "option 'tutti_batch_buckets' is '8,1'; expected 'off', 'powers' or ascending"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_sizes_on_both_sides_of_each_bucket_are_compared() -> None:
    assert compared_rows(10) == (1, 2, 3, 4, 5, 7, 8, 9, 10)
    assert compared_rows(1) == (1,)


def test_the_sizes_of_buckets_can_be_chosen(tmp_path: Path) -> None:
    versions: Versions = published("tiny", tmp_path)
    found = compare(versions, ways("cpu", {}, "3,7"), 9)
    assert [one.good for one in found] == [True] * 3
