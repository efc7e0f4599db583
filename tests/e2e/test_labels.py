"""Ensembles of several labels, and values of several numbers, over HTTP: JSON, binary, V1, classification, degraded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray

from model_repo import Fusion, Geometric, Mean, Median, Vote, Weighted
from tests.e2e.process import ServerProcess, serving
from tests.graphs import linear, raising_above
from tests.repositories import Spec, publish

Float = NDArray[np.float64]
RNG = np.random.default_rng(20261127)
FEATURES, LABELS = 3, 4
KERNELS = RNG.normal(0, 1.5, (3, FEATURES, LABELS)).astype(np.float32)
WEIGHTS = np.array([0.5, 0.2, 1.3])
TEMPERATURES = np.array([1.0, 0.6, 1.8])
THRESHOLDS = (0.5, 0.3, 0.7, 0.05)
NAMES = ("rain", "wind", "snow", "fog")


def sigmoid(z: Float) -> Float:
    return np.asarray(1 / (1 + np.exp(-z)))


def members(x: NDArray[np.float32]) -> Float:
    """Calibrated probabilities [K, n, C] in float64."""
    z = np.einsum("nf,kfc->knc", x.astype(np.float64), KERNELS.astype(np.float64))
    return sigmoid(z / TEMPERATURES[:, None, None])


def shares() -> Float:
    return np.asarray(WEIGHTS / WEIGHTS.sum())


RULES: list[tuple[str, Fusion, Callable[[Float], Float]]] = [
    ("mean", Mean(), lambda P: P.mean(axis=0)),
    ("warm", Mean(temperature=0.7), lambda P: sigmoid(np.log(P.mean(axis=0) / (1 - P.mean(axis=0))) / 0.7)),
    ("weighted", Weighted(), lambda P: np.einsum("k,knc->nc", shares(), P)),
    ("vote", Vote(), lambda P: np.einsum("k,knc->nc", shares(), np.asarray(THRESHOLDS) <= P)),
    ("geometric", Geometric(), lambda P: sigmoid(np.einsum("k,knc->nc", shares(), np.log(P / (1 - P))))),
    ("median", Median(), lambda P: np.median(P, axis=0)),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    root = tmp_path_factory.mktemp("repository")
    specs = {
        f"m{k}": Spec(linear(KERNELS[k]), kind="logits", weight=float(WEIGHTS[k]), temperature=float(TEMPERATURES[k]))
        for k in range(3)
    }
    for name, fusion, _ in RULES:
        publish(root, name, specs, fusion, task="multilabel", classes=NAMES, thresholds=THRESHOLDS)
    trouble = {"well": Spec(linear(KERNELS[0]), kind="logits"), "ill": Spec(raising_above(50.0, KERNELS[1]))}
    publish(root, "trouble", trouble, Mean(), task="multilabel", classes=NAMES, quorum=1)
    values = {f"m{k}": Spec(linear(KERNELS[k]), weight=float(WEIGHTS[k])) for k in range(3)}
    publish(root, "forecast", values, Weighted(), task="regression", classes=(), value_shape=(LABELS,))
    with serving(root) as running:
        yield running


def rows(n: int) -> NDArray[np.float32]:
    return RNG.normal(0, 1, (n, FEATURES)).astype(np.float32)


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
def test_labels_are_fused_one_by_one(
    server: ServerProcess, name: str, rule: Callable[[Float], Float], binary: bool
) -> None:
    for n in (1, 2, 65):
        x = rows(n)
        P = members(x)
        fused, at_least = rule(P), np.array(THRESHOLDS)
        verdict = fused > 0.5 if name == "vote" else fused >= at_least
        found = ask(server, name, x, ["probabilities", "labels", "agreement", "entropy", "members"], binary)
        np.testing.assert_allclose(found.as_numpy("probabilities"), fused, atol=2e-6)
        certain = np.abs(fused - (0.5 if name == "vote" else at_least)) > 1e-5
        labels = found.as_numpy("labels")
        assert labels.dtype == np.bool_
        np.testing.assert_array_equal(labels[certain], verdict[certain])
        np.testing.assert_allclose(found.as_numpy("members"), P.transpose(1, 0, 2), atol=2e-6)
        w = shares() if name in ("weighted", "vote", "geometric") else np.full(3, 1 / 3)
        agreement = np.einsum("k,knc->nc", w, (at_least <= P) == labels)
        np.testing.assert_allclose(found.as_numpy("agreement"), agreement, atol=1e-6)
        p = found.as_numpy("probabilities").astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            nats = np.nan_to_num(-p * np.log(p)) + np.nan_to_num(-(1 - p) * np.log1p(-p))
        np.testing.assert_allclose(found.as_numpy("entropy"), nats, atol=1e-5)


def test_tensorflow_servings_clients_get_both_outputs_by_name(server: ServerProcess) -> None:
    x = rows(3)
    answer = httpx.post(f"http://{server.address}/v1/models/mean:predict", json={"instances": x.tolist()})
    assert answer.status_code == 200, answer.text
    expected = members(x).mean(axis=0)
    for row, prediction in zip(expected, answer.json()["predictions"], strict=True):
        np.testing.assert_allclose(prediction["probabilities"], row, atol=2e-6)
        assert prediction["labels"] == (row >= np.array(THRESHOLDS)).tolist()


def test_metadata_tell_labels_and_thresholds(server: ServerProcess) -> None:
    told = httpx.get(f"http://{server.address}/v2/models/mean").json()
    assert {entry["name"]: (entry["datatype"], entry["shape"]) for entry in told["outputs"]} == {
        "probabilities": ("FP32", [-1, 4]), "labels": ("BOOL", [-1, 4]), "agreement": ("FP32", [-1, 4]),
        "entropy": ("FP32", [-1, 4]), "members": ("FP32", [-1, 3, 4]),
    }  # fmt: skip
    ensemble = told["ensemble"]
    assert (ensemble["task"], ensemble["classes"], ensemble["thresholds"]) == ("multilabel", [*NAMES], [*THRESHOLDS])
    assert ensemble["default_outputs"] == ["probabilities", "labels"]


def test_the_classification_extension_names_the_likeliest_labels(server: ServerProcess) -> None:
    x = rows(1)
    client = triton.InferenceServerClient(server.address)
    given = triton.InferInput("x", [1, FEATURES], "FP32").set_data_from_numpy(x)
    wanted = triton.InferRequestedOutput("probabilities", class_count=2)
    (first, second) = client.infer("mean", [given], outputs=[wanted]).as_numpy("probabilities")[0]
    client.close()
    p = members(x).mean(axis=0)[0]
    order = np.argsort(-p)
    assert [value.decode().split(":")[1:] for value in (first, second)] == [[str(c), NAMES[c]] for c in order[:2]]


def test_labels_are_fused_over_the_members_that_answered(server: ServerProcess) -> None:
    x = rows(2)
    x[0, 0] = 100.0
    answer = httpx.post(
        f"http://{server.address}/v2/models/trouble/infer",
        json={"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, FEATURES], "data": x[:1].ravel().tolist()}]},
    )
    body = answer.json()
    assert body["parameters"] == {"degraded": True, "missing": "ill"}
    z = x[:1].astype(np.float64) @ KERNELS[0].astype(np.float64)
    np.testing.assert_allclose(body["outputs"][0]["data"], sigmoid(z)[0], atol=2e-6)


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_a_forecast_is_fused_step_by_step(server: ServerProcess, binary: bool) -> None:
    for n in (1, 2, 65):
        x = rows(n)
        values = np.einsum("nf,kfc->knc", x.astype(np.float64), KERNELS.astype(np.float64))
        found = ask(server, "forecast", x, ["value", "std", "members"], binary)
        np.testing.assert_allclose(found.as_numpy("value"), np.einsum("k,knc->nc", shares(), values), atol=1e-5)
        np.testing.assert_allclose(found.as_numpy("std"), values.std(axis=0), atol=1e-5)
        np.testing.assert_allclose(found.as_numpy("members"), values.transpose(1, 0, 2), atol=1e-5)
    v1 = httpx.post(f"http://{server.address}/v1/models/forecast:predict", json={"instances": x[:2].tolist()})
    np.testing.assert_allclose(v1.json()["predictions"], np.einsum("k,knc->nc", shares(), values)[:2], atol=1e-5)
