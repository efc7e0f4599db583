"""Golden rows that are drawn so that the members run, and a line to try that always works."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from exporter.foreign.inputs.rows import MOST_VALUES, drawn
from model_repo import Input, Repository
from tests.exporter.foreign.samples import publish
from tests.exporter.foreign.test_inputs import made

FLOAT = TensorProto.FLOAT
V = np.random.default_rng(4).normal(size=(3, 3)).astype(np.float32)


def pictures(least: int) -> bytes:
    """Logits of pictures of any size that is at least `least`: a window of that size must fit."""
    nodes = [
        helper.make_node("MaxPool", ["image"], ["p"], kernel_shape=[least, least], strides=[least, least]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "V"], ["y"]),
    ]
    return made(nodes, {"image": (FLOAT, ["n", 3, "h", "w"])}, {"V": V})


def table(length: int) -> bytes:
    """Logits of a table of so many columns, which it does not state."""
    nodes = [helper.make_node("MatMul", ["x", "L"], ["y"])]
    return made(nodes, {"x": (FLOAT, ["n", "m"])}, {"L": np.ones((length, 3), np.float32)})


def test_pictures_are_drawn_as_large_as_the_network_needs(tmp_path: Path) -> None:
    assert publish(tmp_path, {"a": pictures(50)}) == 0
    assert Repository(tmp_path / "models").open("own", 1).manifest.golden.rows == 16


def test_where_none_fit_the_message_names_golden(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(tmp_path, {"a": table(13)}, "--classes", "a,b,c") == 2
    told = capsys.readouterr().err
    assert "member 'a': does not run" in told
    assert "--golden FILE.npz, arrays x [n, …]" in told
    np.savez(tmp_path / "rows.npz", x=np.ones((4, 13), np.float32))
    assert publish(tmp_path, {"a": table(13)}, "--classes", "a,b,c", "--golden", str(tmp_path / "rows.npz")) == 0


def test_a_model_of_numbers_above_0_gets_those(tmp_path: Path) -> None:
    nodes = [helper.make_node("Sqrt", ["x"], ["s"]), helper.make_node("MatMul", ["s", "V"], ["y"])]
    assert publish(tmp_path, {"a": made(nodes, {"x": (FLOAT, ["n", 3])}, {"V": V})}, "--classes", "a,b,c") == 0


def test_large_rows_are_fewer() -> None:
    large = Input(name="x", datatype="FP32", shape=(-1, 3, 1024, 1024))
    assert len(drawn([large])["x"]) == max(2, MOST_VALUES // (3 * 1024 * 1024))
    huge = Input(name="x", datatype="UINT8", shape=(-1, 2048, 2048, 3))
    assert len(drawn([huge])["x"]) == 2


@pytest.mark.parametrize("size", [4, 64])
def test_the_line_to_try_holds_a_whole_request(tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int) -> None:
    nodes = [helper.make_node("MatMul", ["x", "L"], ["y"])]
    data = made(nodes, {"x": (FLOAT, ["n", size * 100])}, {"L": np.ones((size * 100, 3), np.float32)})
    assert publish(tmp_path, {"a": data}, "--classes", "a,b,c") == 0
    told = capsys.readouterr().out
    assert f"inputs: x FP32 [n, {size * 100}]" in told
    (line,) = [line for line in told.splitlines() if line.startswith("try it:")]
    body = shlex.split(line.removeprefix("try it:"))[-1]
    if body.startswith("@"):
        assert re.fullmatch(r"@.*tutti-own-.*\.json", body)
        path = Path(body[1:])
        body = path.read_text(encoding="utf-8")
        path.unlink()
    (tensor,) = json.loads(body)["inputs"]
    assert (tensor["shape"], len(tensor["data"])) == ([1, size * 100], size * 100)


def test_texts_with_quotes_are_quoted_for_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.graphs import keyword

    np.savez(tmp_path / "rows.npz", text=np.array(["it's", "forte"]))
    words = ("--classes", "a,b,c", "--golden", str(tmp_path / "rows.npz"))
    assert publish(tmp_path, {"a": keyword(["tutti", "forte"], 3)}, *words) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("try it:")]
    assert json.loads(shlex.split(line.removeprefix("try it:"))[-1])["inputs"][0]["data"] == ["it's"]


def test_arrays_that_no_input_takes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).normal(size=(2, 13)).astype(np.float32)
    words = ("--classes", "a,b,c", "--golden", str(tmp_path / "rows.npz"))
    np.savez(tmp_path / "rows.npz", x=x, age=x)
    assert publish(tmp_path, {"a": table(13)}, *words) == 2
    assert "has age, which no input takes; the inputs are x" in capsys.readouterr().err
    kept: dict[str, Any] = {"input:x": x, "expected": x}  # as a version keeps them, answers beside them
    np.savez(tmp_path / "rows.npz", **kept)
    assert publish(tmp_path, {"a": table(13)}, *words) == 0
