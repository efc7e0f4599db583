"""Every disagreement between ONNX files and manifest is named, all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_repo import Input, Repository
from server.errors import LoadError
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.datatypes import TensorInfo
from server.runtime.sessions.signature import Signature, fusion_problems, member_problems
from tests.graphs import fixed_batch, keyword, linear, softmax_linear
from tests.repositories import Spec, publish
from tests.server.runtime.manifests import manifest, member

FLOAT = "tensor(float)"
DESCRIBED = manifest(member("m"))
X = TensorInfo("x", FLOAT, ("n", 2))
Y = TensorInfo("y", FLOAT, ("n", 3))


def told(
    inputs: tuple[TensorInfo, ...] = (X,), outputs: tuple[TensorInfo, ...] = (Y,), wiring: dict[str, str] | None = None
) -> list[str]:
    described = member("m", inputs=wiring or {})
    return member_problems(DESCRIBED, described, Signature(inputs, outputs))


@pytest.mark.parametrize("rows", ["n", "batch_size", None, -1])
def test_a_member_that_agrees_has_no_problems(rows: int | str | None) -> None:
    free = None if rows == -1 else rows
    assert told((TensorInfo("x", FLOAT, (free, 2)),), (TensorInfo("y", FLOAT, (free, 3)),)) == []
    assert told((TensorInfo("x", FLOAT, ()),), (TensorInfo("y", FLOAT, ()),)) == [], "an unstated rank is left to run"


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (TensorInfo("z", FLOAT, ("n", 2)), "takes 'z', which is no input of the ensemble; those are 'x'"),
        (TensorInfo("x", "tensor(int64)", ("n", 2)), "takes 'x' as INT64, the ensemble's 'x' is FP32"),
        (TensorInfo("x", FLOAT, ("n", 5)), "takes 'x' as [n, 5], the ensemble's 'x' is [n, 2]"),
        (TensorInfo("x", FLOAT, ("n", 1, 2)), "takes 'x' as [n, 1, 2], the ensemble's 'x' is [n, 2]"),
        (TensorInfo("x", FLOAT, (1, 2)), "fixes the first dimension of 'x' to 1; it is the batch"),
    ],
)
def test_an_input_that_disagrees_is_named_with_both_sides(entry: TensorInfo, problem: str) -> None:
    assert any(problem in sentence for sentence in told((entry,)))


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (TensorInfo("p", FLOAT, ("n", 3)), "has no output 'y'; its outputs are 'p'"),
        (TensorInfo("y", FLOAT, ("n", 4)), "gives [n, 4], the manifest says [n, 3]"),
        (TensorInfo("y", FLOAT, ("n",)), "gives [n], the manifest says [n, 3]"),
        (TensorInfo("y", FLOAT, (1, 3)), "fixes the first dimension of 'y' to 1"),
        (TensorInfo("y", "tensor(int64)", ("n", 3)), "gives 'y' as INT64, expected FP16, FP32 or FP64"),
        (TensorInfo("y", "seq(map(int64,tensor(float)))", ()), "zipmap"),
    ],
)
def test_an_output_that_disagrees_is_named_with_both_sides(entry: TensorInfo, problem: str) -> None:
    assert any(problem in sentence for sentence in told((X,), (entry,)))


def test_a_wired_input_that_the_file_does_not_have_is_named() -> None:
    assert told(wiring={"pixels": "x"}) == ["has no input 'pixels', which the manifest feeds; its inputs are 'x'"]


def test_inputs_are_wired_by_the_manifest() -> None:
    assert told((TensorInfo("pixels", FLOAT, ("n", 2)),), wiring={"pixels": "x"}) == []


def test_a_variable_length_needs_a_dynamic_dimension() -> None:
    described = manifest(member("m"), inputs=(Input(name="x", datatype="FP32", shape=(-1, -1)),))
    fixed = Signature((X,), (Y,))
    assert member_problems(described, described.members[0], fixed) == [
        "takes 'x' as [n, 2], the ensemble's 'x' is [n, ?]"
    ]
    free = Signature((TensorInfo("x", FLOAT, ("n", "length")),), (Y,))
    assert member_problems(described, described.members[0], free) == []


@pytest.mark.parametrize("shape", [("n",), ("n", 1)])
def test_one_column_is_enough_for_a_value_or_for_two_classes(shape: tuple[int | str, ...]) -> None:
    signature = Signature((X,), (TensorInfo("y", FLOAT, shape),))
    value = manifest(member("m", "value"), classes=())
    assert member_problems(value, value.members[0], signature) == []
    binary = manifest(member("m"), classes=("no", "yes"))
    assert member_problems(binary, binary.members[0], signature) == []


def test_the_fusion_must_map_members_to_classes() -> None:
    described = manifest(member("one"), member("two"))
    p, q = TensorInfo("p", FLOAT, ("n", 2, 3)), TensorInfo("q", FLOAT, ("n", 3))
    assert fusion_problems(described, Signature((p,), (q,))) == []
    wrong = TensorInfo("p", "tensor(double)", ("n", 3, 2))
    assert fusion_problems(described, Signature((wrong,), (q,))) == [
        "takes 'p' as FP64, expected FP32",
        "takes [n, 3, 2], expected [n, 2, 3]",
    ]
    assert fusion_problems(described, Signature((p, p), (q,))) == ["has 2 inputs and 1 outputs, expected one of each"]


def test_a_load_lists_the_problems_of_all_members_and_leaves_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    good, narrow = random.normal(size=(4, 10)), random.normal(size=(4, 9))
    ten = tuple(f"c{c}" for c in range(10))
    members = {
        "cnn": softmax_linear(good),
        "rf": Spec(linear(narrow), kind="logits"),
        "knn": fixed_batch(good),
        "tree": keyword(["a"], 10, name="x"),
    }
    golden = {"members": np.zeros((4, 4, 10), np.float32), "fused": np.zeros((4, 10), np.float32)}
    publish_wrong(tmp_path, members, ten, golden)
    pool = SessionPool()
    with pytest.raises(LoadError) as caught:
        LoadedEnsemble.open(Repository(tmp_path).open("tiny", 1), pool, RuntimeOptions(cores=1))
    assert caught.value.reason == "signature"
    message = str(caught.value)
    assert "member 'rf' gives [n, 9], the manifest says [n, 10]" in message
    assert "member 'knn' fixes the first dimension of 'x' to 1" in message
    assert "member 'tree' takes 'x' as BYTES, the ensemble's 'x' is FP32" in message
    assert "'cnn'" not in message
    assert pool.count == 0


def publish_wrong(root: Path, members: dict[str, Any], classes: tuple[str, ...], golden: dict[str, Any]) -> None:
    """Publish what cannot be run, so the golden rows are given whole."""
    inputs = (Input(name="x", datatype="FP32", shape=(-1, 4)),)
    feeds = {"x": np.zeros((4, 4), np.float32)}
    publish(root, "tiny", members, feeds=feeds, golden=golden, classes=classes, inputs=inputs)


def test_an_input_that_no_member_takes_is_named(tmp_path: Path) -> None:
    inputs = tuple(Input(name=name, datatype="FP32", shape=(-1, 3)) for name in ("x", "spare"))
    publish(tmp_path, "tiny", {"cnn": softmax_linear(np.eye(3))}, inputs=inputs)
    with pytest.raises(LoadError, match="input 'spare' of the ensemble is taken by no member"):
        LoadedEnsemble.open(Repository(tmp_path).open("tiny", 1), SessionPool(), RuntimeOptions(cores=1))
