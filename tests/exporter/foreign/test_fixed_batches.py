"""Files that fix the number of rows: taken to any number where nothing changes, else run in slices of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, load_from_string, numpy_helper

from model_repo import Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.exporter.foreign.samples import publish, softmax

R = np.random.default_rng(5)
V = R.normal(size=(8, 3)).astype(np.float32)


def fixed(
    rows: int, shape: Sequence[int], tail: Sequence[NodeProto], constants: Mapping[str, NDArray[Any]], columns: int = 3
) -> bytes:
    """A model of `x` [rows, …] and `y` [rows, columns], both of that number of rows and no other."""
    graph = helper.make_graph(
        list(tail),
        "fixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, columns])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def reshaping(rows: int) -> bytes:
    """x [rows, 2, 4] flattened by a constant shape that says how many rows there are."""
    nodes = [helper.make_node("Reshape", ["x", "to"], ["f"]), helper.make_node("MatMul", ["f", "V"], ["y"])]
    return fixed(rows, [2, 4], nodes, {"to": np.array([rows, 8], np.int64), "V": V})


def mixing(rows: int) -> bytes:
    """x [rows, 8], less its mean over the rows: only alone is a row the same as by itself."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Mul", ["m", "half"], ["h"]),
        helper.make_node("Sub", ["x", "h"], ["d"]),
        helper.make_node("MatMul", ["d", "V"], ["y"]),
    ]
    return fixed(rows, [8], nodes, {"V": V, "half": np.array([0.5], np.float32)})


def token(rows: int) -> bytes:
    """A class token that the exporter repeated for its rows, put before those of x [rows, 1, 4]."""
    nodes = [
        helper.make_node("Concat", ["cls", "x"], ["c"], axis=1),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("MatMul", ["f", "V"], ["y"]),
    ]
    return fixed(rows, [1, 4], nodes, {"cls": np.ones((rows, 1, 4), np.float32), "V": V})


def recurrent(rows: int) -> bytes:
    """A GRU over x [rows, 5, 4] whose initial state is zeros of that number of rows."""
    gates = {"w": R.normal(size=(1, 24, 4)), "r": R.normal(size=(1, 24, 8)), "b": np.zeros((1, 48))}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["t", "w", "r", "b", "", "h0"], ["", "h"], hidden_size=8),
        helper.make_node("Squeeze", ["h", "front"], ["s"]),
        helper.make_node("MatMul", ["s", "V"], ["y"]),
    ]
    constants = {name: value.astype(np.float32) for name, value in gates.items()}
    constants |= {"V": V, "h0": np.zeros((1, rows, 8), np.float32)}
    return fixed(rows, [5, 4], nodes, {**constants, "front": np.array([0], np.int64)})


def rowwise(rows: int) -> bytes:
    """A loop over exactly so many rows, cut apart and joined: no edit makes it take others."""
    cuts = [f"x{k}" for k in range(rows)]
    nodes = [helper.make_node("Split", ["x", "sizes"], cuts, axis=0)]
    nodes += [helper.make_node("MatMul", [cut, "V"], [f"y{k}"]) for k, cut in enumerate(cuts)]
    nodes.append(helper.make_node("Concat", [f"y{k}" for k in range(rows)], ["y"], axis=0))
    return fixed(rows, [8], nodes, {"V": V, "sizes": np.ones(rows, np.int64)})


def loaded(folder: Path, pool: SessionPool, plan: str = "auto") -> LoadedEnsemble:
    opened = Repository(folder / "models").open("own", 1)
    ensemble = LoadedEnsemble.open(opened, pool, RuntimeOptions(cores=2, plan=plan))  # type: ignore[arg-type]  # a plan's name
    ensemble.check_golden()
    ensemble.choose_plan()
    return ensemble


def answered(folder: Path, x: NDArray[np.float32], plan: str = "auto") -> NDArray[Any]:
    pool = SessionPool()
    ensemble = loaded(folder, pool, plan)
    try:
        return np.asarray(ensemble.predict({"x": x}, ("probabilities",)).outputs["probabilities"])
    finally:
        ensemble.close()


def one_by_one(data: bytes, x: NDArray[np.float32], rows: int) -> NDArray[Any]:
    """The reference: the file's own answers, `rows` at a time."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": x[at : at + rows]})[0] for at in range(0, len(x), rows)])


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("make", [reshaping, token, recurrent])
def test_a_fixed_batch_is_freed_where_no_answer_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Any, rows: int
) -> None:
    data = make(rows)
    assert publish(tmp_path, {"a": data}, "--classes", "a,b,c") == 0
    assert f"its batch was fixed to {rows} and is free now" in capsys.readouterr().out
    (member,) = Repository(tmp_path / "models").open("own", 1).manifest.members
    assert member.rows is None
    shape = [size.dim_value for size in load_from_string(data).graph.input[0].type.tensor_type.shape.dim][1:]
    x = R.normal(size=(12, *shape)).astype(np.float32)
    np.testing.assert_allclose(answered(tmp_path, x), softmax(one_by_one(data, x, rows)), atol=1e-5)


@pytest.mark.parametrize("plan", ["sequential", "parallel", "merged", "auto"])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_what_cannot_be_freed_is_run_in_slices_in_every_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: int, plan: str
) -> None:
    data = rowwise(rows) if rows > 1 else mixing(1)
    assert publish(tmp_path, {"a": data, "b": reshaped_beside(data)}, "--classes", "a,b,c") == 0
    told = capsys.readouterr().out
    assert f"its batch is fixed to {rows} and stays so: a server runs it in slices of {rows} row" in told
    first, second = Repository(tmp_path / "models").open("own", 1).manifest.members
    assert (first.rows, second.rows) == (rows, rows)
    for count in (1, 2, 7, 12):
        x = R.normal(size=(count, 8)).astype(np.float32)
        whole = np.concatenate([x, np.repeat(x[-1:], -count % rows, axis=0)])
        expected = softmax(one_by_one(data, whole, rows)[:count])
        np.testing.assert_allclose(answered(tmp_path, x, plan), expected, atol=1e-5)


def reshaped_beside(data: bytes) -> bytes:
    """The same model as another file: its graph has another name."""
    model = load_from_string(data)
    model.graph.name = "beside"
    copy: bytes = model.SerializeToString()
    return copy


def test_slices_whose_rows_mix_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(tmp_path, {"a": mixing(4)}, "--classes", "a,b,c") == 2
    assert "its answers hang on the other rows of the batch" in capsys.readouterr().err


def test_a_sliced_member_is_never_merged(tmp_path: Path) -> None:
    assert publish(tmp_path, {"a": rowwise(3), "b": reshaping_flat()}, "--classes", "a,b,c") == 0
    pool = SessionPool()
    ensemble = loaded(tmp_path, pool)
    assert ensemble.plan_problems["merged"] == "member 'a' is run in slices of 3 rows"
    ensemble.close()
    assert pool.count == 0


def reshaping_flat() -> bytes:
    """x [n, 8] V, of any number of rows once it is freed."""
    return fixed(1, [8], [helper.make_node("MatMul", ["x", "V"], ["y"])], {"V": V})


def test_inputs_that_fix_different_numbers_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load_from_string(reshaping(1))
    model.graph.input.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, [2, 4]))
    assert publish(tmp_path, {"a": model.SerializeToString()}, "--classes", "a,b,c") == 2
    told = capsys.readouterr().err
    assert "its inputs fix the first dimension, which is the rows, differently: 'x' to 1, 'state' to 2" in told
    assert "--constant a:state=VALUE" in told


def test_columns_without_bounds_that_are_made_of_pictures_are_logits_as_a_guess(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "V"], ["y"]),
    ]
    data = fixed(1, [3, 16, 16], nodes, {"k": R.normal(size=(8, 3, 3, 3)).astype(np.float32), "V": V})
    assert publish(tmp_path, {"a": data}) == 0
    assert "guess: member 'a' gives logits" in capsys.readouterr().out
    x = R.normal(size=(3, 3, 16, 16)).astype(np.float32)
    np.testing.assert_allclose(answered(tmp_path, x), softmax(one_by_one(data, x, 1)), atol=1e-5)
