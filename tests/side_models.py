"""Publishes tiny ensembles with detectors and extras, golden rows included."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from model_repo import Detector, Extra, Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.datatypes import Array
from tests.graphs import IR_VERSION, OPSET, raising_above, softmax_linear
from tests.repositories import Spec, opened, publish

RANDOM = np.random.default_rng(5)
W = [RANDOM.normal(size=(3, 4)) for _ in range(2)]
ROWS = {"x": np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3], [1, 1, 1]], np.float32)}
"""Squared distances from 0: 0, 1, 4, 9, 3."""


def distance(center: ArrayLike = (0, 0, 0), keepdims: int = 0) -> bytes:
    """score = Σ (x − center)², [n] or [n, 1]."""
    nodes = [
        helper.make_node("Sub", ["x", "center"], ["d"]),
        helper.make_node("Mul", ["d", "d"], ["dd"]),
        helper.make_node("ReduceSum", ["dd", "axis"], ["score"], keepdims=keepdims),
    ]
    constants: dict[str, Array] = {"center": np.asarray(center, np.float32), "axis": np.array([1], np.int64)}
    shape = ["n", 1] if keepdims else ["n"]
    return _model(nodes, {"score": (TensorProto.FLOAT, shape)}, constants)


def tokens() -> bytes:
    """tokens = ⌊10 x⌋ INT64 [n, 3], and half = x / 2 FP32 [n, 3]."""
    nodes = [
        helper.make_node("Mul", ["x", "ten"], ["tens"]),
        helper.make_node("Floor", ["tens"], ["low"]),
        helper.make_node("Cast", ["low"], ["tokens"], to=TensorProto.INT64),
        helper.make_node("Mul", ["x", "point5"], ["half"]),
    ]
    outputs = {"tokens": (TensorProto.INT64, ["n", 3]), "half": (TensorProto.FLOAT, ["n", 3])}
    return _model(nodes, outputs, {"ten": np.array(10, np.float32), "point5": np.array(0.5, np.float32)})


def fragile() -> bytes:
    """A column of ones `y` [n, 1]; the run raises where a row's first feature is above 4."""
    return raising_above(4.0, np.zeros((3, 1)))


def detector(name: str, data: bytes, output: str = "score", **fields: Any) -> Detector:
    """A detector of these bytes, its scores among the quantiles 0, 1, …, 10 unless told."""
    base: dict[str, Any] = {"quantiles": tuple(map(float, range(11))), **_file(f"detectors/{name}.onnx", data)}
    return Detector(name=name, output=output, **{**base, **fields})


def extra(name: str, data: bytes, output: str, **fields: Any) -> Extra:
    """An extra of these bytes: INT64 [n, 3] unless told."""
    base: dict[str, Any] = {"datatype": "INT64", "shape": (-1, 3), **_file(f"extras/{name}.onnx", data)}
    return Extra(name=name, output=output, **{**base, **fields})


def publish_with(
    root: Path,
    detectors: Sequence[tuple[Detector, bytes]] = (),
    extras: Sequence[tuple[Extra, bytes]] = (),
    *,
    published: Sequence[Extra] | None = None,
    golden: Mapping[str, Array] | None = None,
    members: Mapping[str, bytes | Spec] | None = None,
    **fields: Any,
) -> int:
    """Publish `tiny`: two members of four classes over x [n, 3], with these detectors and extras and their bytes.

    The golden rows are `ROWS` with scores computed here; `golden` replaces arrays of them,
    `published` what the manifest says of the extras.
    """
    arrays: dict[str, Array] = {f"extra:{e.name}": run(data, e.output) for e, data in extras}
    if detectors:
        arrays["ood_score"] = score(detectors)
    files = {model.file: data for model, data in (*detectors, *extras)}
    return publish(
        root,
        "tiny",
        members or {f"m{k}": softmax_linear(W[k]) for k in range(2)},
        feeds=ROWS,
        golden={**arrays, **(golden or {})},
        more={path: data for path, data in files.items() if not path.startswith("members/")},
        detectors=tuple(model for model, _ in detectors),
        extras=tuple(model for model, _ in extras) if published is None else tuple(published),
        **fields,
    )


def check_golden(root: Path, pool: SessionPool, version: int = 1) -> None:
    """Reproduce the golden rows of a version, and close it whatever comes of that."""
    ensemble = LoadedEnsemble.open(Repository(root).open("tiny", version), pool, RuntimeOptions(cores=1))
    try:
        ensemble.check_golden()
    finally:
        ensemble.close()


def run(data: bytes, output: str, feeds: Mapping[str, Array] = ROWS) -> Array:
    """One output of a model."""
    return opened(data).run([output], feeds)[0]


def score(detectors: Sequence[tuple[Detector, bytes]], feeds: Mapping[str, Array] = ROWS) -> Array:
    """float32 [n]: the weighted mean of each detector's share of lesser quantiles."""
    shares = [
        np.interp(run(data, d.output, feeds).ravel(), d.quantiles, np.linspace(0, 1, len(d.quantiles)))
        for d, data in detectors
    ]
    return np.average(shares, axis=0, weights=[d.weight for d, _ in detectors]).astype(np.float32)


def words() -> bytes:
    """words = x as strings [n, 3]."""
    nodes = [helper.make_node("Cast", ["x"], ["words"], to=TensorProto.STRING)]
    return _model(nodes, {"words": (TensorProto.STRING, ["n", 3])}, {})


def _file(path: str, data: bytes) -> dict[str, Any]:
    return {"file": path, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _model(nodes: list[Any], outputs: Mapping[str, tuple[int, list[Any]]], constants: Mapping[str, Array]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "side",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info(name, *declared) for name, declared in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    data: bytes = model.SerializeToString()
    return data
