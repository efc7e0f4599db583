"""Fused answers over HTTP equal an independent computation in float64, for every rule, JSON and binary."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray

from model_repo import Fusion, Geometric, Mean, Median, ReciprocalRank, Stacked, Vote, Weighted
from tests.e2e.process import ServerProcess, serving
from tests.graphs import linear, softmax_linear, stacker
from tests.repositories import DIGEST, Spec, publish

Float = NDArray[np.float64]
RNG = np.random.default_rng(20261123)
FEATURES, CLASSES = 6, 4
KERNELS = RNG.normal(0, 1.5, (3, FEATURES, CLASSES)).astype(np.float32)
WEIGHTS = np.array([0.5, 0.2, 1.3])
TEMPERATURES = np.array([1.0, 0.6, 1.8])
REGRESSORS = RNG.normal(0, 1, (3, FEATURES, 1)).astype(np.float32)
SIZES = (1, 2, 7, 64, 65, 500)


def softmax(z: Float) -> Float:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def members(x: NDArray[np.float32]) -> Float:
    """Calibrated probabilities [K, n, C] in float64."""
    z = np.einsum("nf,kfc->knc", x.astype(np.float64), KERNELS.astype(np.float64))
    return softmax(np.log(softmax(z)) / TEMPERATURES[:, None, None])


def shares() -> Float:
    return np.asarray(WEIGHTS / WEIGHTS.sum())


def vote(P: Float) -> Float:
    ballots = np.eye(CLASSES)[P.argmax(axis=2)]
    return np.asarray(np.einsum("k,knc->nc", shares(), ballots))


def hot(p: Float, temperature: float) -> Float:
    return softmax(np.log(p) / temperature)


def median(P: Float) -> Float:
    middle = np.median(P, axis=0)
    return np.asarray(middle / middle.sum(axis=1, keepdims=True))


def learned(P: Float) -> Float:
    flat = P.transpose(1, 0, 2).reshape(P.shape[1], -1)
    return softmax(flat @ (np.tile(np.eye(CLASSES), (3, 1)) * 4.0))


RULES: list[tuple[str, Fusion, Callable[[Float], Float]]] = [
    ("mean", Mean(), lambda P: P.mean(axis=0)),
    ("mean-warm", Mean(temperature=0.7), lambda P: hot(P.mean(axis=0), 0.7)),
    ("weighted", Weighted(), lambda P: np.einsum("k,knc->nc", shares(), P)),
    ("vote", Vote(), vote),
    ("geometric", Geometric(), lambda P: softmax(np.einsum("k,knc->nc", shares(), np.log(np.maximum(P, 1e-12))))),
    ("median", Median(), median),
    ("stacked", Stacked(file="fusion.onnx", sha256=DIGEST, bytes=0, fallback=Mean()), learned),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    root = tmp_path_factory.mktemp("repository")
    specs = {
        f"m{k}": Spec(softmax_linear(KERNELS[k]), weight=float(WEIGHTS[k]), temperature=float(TEMPERATURES[k]))
        for k in range(3)
    }
    for name, fusion, _ in RULES:
        publish(root, name, specs, fusion, stacker=stacker(3, CLASSES) if name == "stacked" else None)
    values = {f"m{k}": Spec(linear(REGRESSORS[k]), weight=float(WEIGHTS[k])) for k in range(3)}
    for rule, fusion in (("mean", Mean()), ("weighted", Weighted()), ("median", Median())):
        publish(root, f"value-{rule}", values, fusion)
    scores = {f"m{k}": Spec(linear(KERNELS[k]), kind="value", weight=float(WEIGHTS[k])) for k in range(3)}
    publish(root, "rank-weighted", scores, Weighted(), task="ranking")
    publish(root, "rank-reciprocal", scores, ReciprocalRank(constant=60.0), task="ranking")
    with serving(root) as running:
        yield running


def ask(
    server: ServerProcess, name: str, x: NDArray[np.float32], outputs: list[str], *, binary: bool
) -> triton.InferResult:
    client = triton.InferenceServerClient(server.address)
    given = triton.InferInput("x", list(x.shape), "FP32").set_data_from_numpy(x, binary_data=binary)
    wanted = [triton.InferRequestedOutput(output, binary_data=binary) for output in outputs]
    try:
        return client.infer(name, [given], outputs=wanted)
    finally:
        client.close()


def rows(n: int) -> NDArray[np.float32]:
    return RNG.normal(0, 1, (n, FEATURES)).astype(np.float32)


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
@pytest.mark.parametrize(("name", "reference"), [(name, rule) for name, _, rule in RULES])
def test_classification(server: ServerProcess, name: str, reference: Callable[[Float], Float], binary: bool) -> None:
    for n in SIZES:
        x = rows(n)
        P = members(x)
        expected = reference(P)
        found = ask(server, name, x, ["probabilities", "label", "confidence", "members", "entropy"], binary=binary)
        probabilities = found.as_numpy("probabilities")
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=2e-6)
        np.testing.assert_allclose(found.as_numpy("members"), P.transpose(1, 0, 2), rtol=0, atol=2e-6)
        np.testing.assert_array_equal(found.as_numpy("confidence"), probabilities.max(axis=1))
        if name != "vote":
            labels = [f"c{c}".encode() for c in expected.argmax(axis=1)]
            assert [_bytes(label) for label in found.as_numpy("label")] == labels
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -np.nansum(np.where(expected > 0, expected * np.log(expected), 0.0), axis=1)
        np.testing.assert_allclose(found.as_numpy("entropy"), entropy, rtol=0, atol=5e-6)


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
@pytest.mark.parametrize("rule", ["mean", "weighted", "median"])
def test_regression(server: ServerProcess, rule: str, binary: bool) -> None:
    for n in SIZES:
        x = rows(n)
        V = np.einsum("nf,kfo->kn", x.astype(np.float64), REGRESSORS.astype(np.float64))
        expected = {"mean": V.mean(axis=0), "weighted": shares() @ V, "median": np.median(V, axis=0)}[rule]
        found = ask(server, f"value-{rule}", x, ["value"], binary=binary)
        np.testing.assert_allclose(found.as_numpy("value"), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
@pytest.mark.parametrize("rule", ["weighted", "reciprocal"])
def test_ranking(server: ServerProcess, rule: str, binary: bool) -> None:
    for n in SIZES:
        x = rows(n)
        S = np.einsum("nf,kfc->knc", x.astype(np.float64), KERNELS.astype(np.float64))
        ranks = (-S).argsort(axis=2).argsort(axis=2) + 1
        scores = S if rule == "weighted" else 1.0 / (60.0 + ranks)
        expected = np.einsum("k,knc->nc", shares(), scores)
        found = ask(server, f"rank-{rule}", x, ["scores"], binary=binary)
        np.testing.assert_allclose(found.as_numpy("scores"), expected, rtol=0, atol=2e-6)


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value
