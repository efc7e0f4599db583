"""Dense answers and embeddings over HTTP: JSON, binary, V1, lengths that vary, members in trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from model_repo import Concatenate, Fusion, Geometric, Mean, Median, Vote, Weighted
from tests.e2e.process import ServerProcess, serving
from tests.graphs import linear
from tests.repositories import Spec, publish

Float = NDArray[np.float64]
RNG = np.random.default_rng(20261128)
CHANNELS, CLASSES = 2, 3
KERNELS = RNG.normal(0, 1.5, (3, CHANNELS, CLASSES)).astype(np.float32)
TURNED = np.array([2, 0, 1])
"""Where the third member has the classes."""
NAMES = ("road", "tree", "sky")
WEIGHTS = np.array([0.5, 0.2, 1.3])
WIDTHS = (4, 6)
VECTORS = [RNG.normal(0, 1, (3, width)).astype(np.float32) for width in WIDTHS]
SAME_VECTORS = [RNG.normal(0, 1, (3, 4)).astype(np.float32) for _ in range(2)]


def pixelwise(kernel: NDArray[np.float32], *, soft: bool) -> bytes:
    """x [n, F, H, W] → y [n, C, H, W]: a 1 × 1 convolution, and a softmax over the classes."""
    weights = np.ascontiguousarray(kernel.T[:, :, None, None])
    nodes = [helper.make_node("Conv", ["x", "w"], ["z" if soft else "y"])]
    nodes += [helper.make_node("Softmax", ["z"], ["y"], axis=1)] if soft else []
    graph = helper.make_graph(
        nodes, "pixels",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", kernel.shape[0], "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", kernel.shape[1], "h", "w"])],
        [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


def softmax(z: Float) -> Float:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def members(x: NDArray[np.float32]) -> Float:
    """[K, n, H, W, C] in float64."""
    return softmax(np.einsum("nfhw,kfc->knhwc", x.astype(np.float64), KERNELS.astype(np.float64)))


def shares() -> Float:
    return np.asarray(WEIGHTS / WEIGHTS.sum())


def mixed(P: Float) -> Float:
    return np.asarray(np.einsum("k,knhwc->nhwc", shares(), P))


def median(P: Float) -> Float:
    middle = np.median(P, axis=0)
    return np.asarray(middle / middle.sum(axis=-1, keepdims=True))


RULES: list[tuple[str, Fusion, Callable[[Float], Float]]] = [
    ("mean", Mean(), lambda P: P.mean(axis=0)),
    ("weighted", Weighted(), mixed),
    ("vote", Vote(), lambda P: mixed(np.eye(CLASSES)[P.argmax(axis=-1)])),
    ("geometric", Geometric(), lambda P: softmax(mixed(np.log(P)))),
    ("median", Median(), median),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    root = tmp_path_factory.mktemp("repository")
    feeds = {"x": RNG.normal(0, 1, (3, CHANNELS, 4, 5)).astype(np.float32)}
    specs = {
        "a": Spec(pixelwise(KERNELS[0], soft=True), weight=0.5),
        "b": Spec(pixelwise(KERNELS[1], soft=False), kind="logits", weight=0.2),
        "c": Spec(
            pixelwise(KERNELS[2][:, TURNED], soft=True), weight=1.3, classes=tuple(NAMES[c] for c in TURNED)
        ),
    }  # fmt: skip
    dense: dict[str, Any] = {"task": "dense", "classes": NAMES, "positions": (-1, -1), "quorum": 1}
    for name, fusion, _ in RULES:
        publish(root, name, specs, fusion, feeds=feeds, **dense)
    vectors = {f"m{k}": Spec(linear(VECTORS[k]), width=WIDTHS[k]) for k in range(2)}
    publish(root, "joined", vectors, Concatenate(), task="embedding", classes=(), value_shape=(sum(WIDTHS),))
    same = {f"m{k}": Spec(linear(SAME_VECTORS[k]), weight=float(WEIGHTS[k])) for k in range(2)}
    for name, fusion in (("spread", Mean()), ("leaning", Weighted())):
        publish(root, name, same, fusion, task="embedding", classes=(), value_shape=(4,))
    with serving(root) as running:
        yield running


def ask(
    server: ServerProcess, name: str, x: NDArray[np.float32], outputs: list[str], binary: bool
) -> triton.InferResult:
    client = triton.InferenceServerClient(server.address)
    given = triton.InferInput("x", list(x.shape), "FP32").set_data_from_numpy(x, binary_data=binary)
    try:
        return client.infer(
            name, [given], outputs=[triton.InferRequestedOutput(output, binary_data=binary) for output in outputs]
        )
    finally:
        client.close()


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
@pytest.mark.parametrize(("name", "rule"), [(name, rule) for name, _, rule in RULES])
def test_positions_are_fused_one_by_one(
    server: ServerProcess, name: str, rule: Callable[[Float], Float], binary: bool
) -> None:
    for shape in ((1, 4, 5), (2, 1, 1), (5, 3, 7)):
        x = RNG.normal(0, 1, (shape[0], CHANNELS, *shape[1:])).astype(np.float32)
        P = members(x)
        fused = rule(P)
        found = ask(server, name, x, ["probabilities", "label", "index", "entropy", "members"], binary)
        np.testing.assert_allclose(found.as_numpy("probabilities"), np.moveaxis(fused, -1, 1), atol=2e-6)
        np.testing.assert_allclose(found.as_numpy("members"), P.transpose(1, 0, 4, 2, 3), atol=2e-6)
        index = found.as_numpy("index")
        assert index.dtype == np.int32
        clear = np.diff(np.sort(fused, axis=-1)[..., -2:], axis=-1)[..., 0] > 1e-5
        np.testing.assert_array_equal(index[clear], fused.argmax(axis=-1)[clear])
        label = found.as_numpy("label")
        told = [value.decode() if isinstance(value, bytes) else value for value in label.ravel().tolist()]
        assert told == [NAMES[place] for place in index.ravel().tolist()]
        with np.errstate(divide="ignore", invalid="ignore"):
            nats = -np.nan_to_num(fused * np.log(fused)).sum(axis=-1)
        np.testing.assert_allclose(found.as_numpy("entropy"), nats, atol=2e-5)


def test_default_outputs_are_probabilities_and_a_label_for_each_position(server: ServerProcess) -> None:
    x = RNG.normal(0, 1, (2, CHANNELS, 2, 3)).astype(np.float32)
    answer = httpx.post(f"http://{server.address}/v1/models/mean:predict", json={"instances": x.tolist()})
    assert answer.status_code == 200, answer.text
    fused = members(x).mean(axis=0)
    for row, prediction in zip(fused, answer.json()["predictions"], strict=True):
        np.testing.assert_allclose(prediction["probabilities"], np.moveaxis(row, -1, 0), atol=2e-6)
        assert prediction["label"] == np.array(NAMES, dtype=object)[row.argmax(axis=-1)].tolist()
    told = httpx.get(f"http://{server.address}/v2/models/mean").json()
    shapes = {entry["name"]: entry["shape"] for entry in told["outputs"]}
    assert (shapes["probabilities"], shapes["label"]) == ([-1, 3, -1, -1], [-1, -1, -1])
    assert told["ensemble"]["default_outputs"] == ["probabilities", "label"]


def unit(v: Float) -> Float:
    return np.asarray(v / np.linalg.norm(v, axis=-1, keepdims=True))


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_embeddings_are_means_of_unit_vectors_or_put_together(server: ServerProcess, binary: bool) -> None:
    for n in (1, 2, 65):
        x = RNG.normal(0, 1, (n, 3)).astype(np.float32)
        one, other = (unit(x.astype(np.float64) @ W.astype(np.float64)) for W in SAME_VECTORS)
        for name, w in (("spread", np.array([0.5, 0.5])), ("leaning", WEIGHTS[:2] / WEIGHTS[:2].sum())):
            mean = w[0] * one + w[1] * other
            found = ask(server, name, x, ["embedding", "agreement", "members"], binary)
            np.testing.assert_allclose(found.as_numpy("embedding"), mean, atol=1e-5)
            np.testing.assert_allclose(found.as_numpy("agreement"), np.linalg.norm(mean, axis=1), atol=1e-5)
            np.testing.assert_allclose(found.as_numpy("members"), np.stack([one, other], axis=1), atol=1e-5)
        joined = np.concatenate([unit(x.astype(np.float64) @ W.astype(np.float64)) for W in VECTORS], axis=1)
        found = ask(server, "joined", x, ["embedding"], binary)
        np.testing.assert_allclose(found.as_numpy("embedding"), joined, atol=1e-5)
    v1 = httpx.post(f"http://{server.address}/v1/models/joined:predict", json={"instances": x[:2].tolist()})
    np.testing.assert_allclose(v1.json()["predictions"], joined[:2], atol=1e-5)
