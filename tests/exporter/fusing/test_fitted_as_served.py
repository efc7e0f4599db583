"""What a fusion is fitted to is what a server computes, whatever the members' numbers: one function for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from exporter import Exporter
from exporter.fusing.rules import calibrated_stack
from exporter.fusing.temperature import LARGEST, LEAST, fit_temperature
from model_repo.format.manifest import Kind
from server.runtime.answer.alignment import Alignment
from tests.server.runtime.manifests import manifest, member

CLASSES = ("a", "b", "c")
SINGLE, DOUBLE = np.finfo(np.float32), np.finfo(np.float64)
EDGES = (0.0, 1.0, 0.5, 1e-7, 1e-12, float(SINGLE.tiny), float(SINGLE.smallest_subnormal), float(DOUBLE.tiny))

Raw = NDArray[np.floating[Any]]


@st.composite
def probabilities(draw: st.DrawFn) -> Raw:
    """[n, 3] of one member: zeros, ones, denormals and ordinary numbers, scaled to sum 1, float32 or float64."""
    entry = st.sampled_from((*EDGES, float(DOUBLE.smallest_subnormal), 5e-324)) | st.floats(0.0, 1.0)
    rows = draw(st.lists(st.tuples(entry, entry, entry).filter(lambda row: sum(row) > 1e-3), min_size=1, max_size=5))
    table = np.array(rows)
    table /= table.sum(axis=1, keepdims=True)
    return table.astype(draw(st.sampled_from((np.float32, np.float64))))


@st.composite
def logits(draw: st.DrawFn) -> Raw:
    """[n, 3]: some rows saturate a softmax, in float32 or float64."""
    entry = st.floats(-800.0, 800.0, width=32)
    rows = draw(st.lists(st.tuples(entry, entry, entry), min_size=1, max_size=5))
    return np.array(rows, dtype=draw(st.sampled_from((np.float32, np.float64))))


@settings(deadline=None)
@given(
    raw=probabilities() | logits(),
    temperature=st.sampled_from((LEAST, 0.7, 1.0, 3.0, LARGEST)) | st.floats(LEAST, LARGEST),
)
def test_members_are_calibrated_in_fitting_as_they_are_served(raw: Raw, temperature: float) -> None:
    kind: Kind = "probabilities" if raw.min() >= 0 and np.allclose(raw.sum(axis=1), 1) else "logits"
    alignment = Alignment(manifest(member("one", kind, temperature=temperature), classes=CLASSES))
    served = alignment.stack([raw], len(raw))
    assert served.answered is None
    fitted = calibrated_stack([raw], [kind], [temperature])
    np.testing.assert_allclose(fitted, served.P, rtol=1e-12, atol=0)
    assert fitted.sum(axis=2) == pytest.approx(1, abs=2e-3)


@settings(deadline=None)
@given(raw=probabilities(), seed=st.integers(0, 9))
def test_a_temperature_is_found_for_any_probabilities(raw: Raw, seed: int) -> None:
    y = np.random.default_rng(seed).integers(0, 3, len(raw))
    assert LEAST <= fit_temperature(raw, "probabilities", y) <= LARGEST


def test_a_temperature_that_was_applied_is_found_among_exact_zeros() -> None:
    rng = np.random.default_rng(3)
    p = rng.dirichlet(np.full(4, 0.5), 8000)
    p[rng.random(p.shape) < 0.3] = 0.0
    p = p[p.sum(axis=1) > 0.01]
    p /= p.sum(axis=1, keepdims=True)
    y = np.minimum((p.cumsum(axis=1) < rng.random(len(p))[:, None]).sum(axis=1), 3).astype(np.int64)
    sharpened = p**2 / (p**2).sum(axis=1, keepdims=True)
    assert fit_temperature(sharpened, "probabilities", y) == pytest.approx(2, rel=0.1)


def test_answers_that_no_temperature_changes_keep_the_one_they_have() -> None:
    y = np.arange(60, dtype=np.int64) % 3
    certain = np.eye(3, dtype=np.float32)[(y + (np.arange(60) % 7 == 0)) % 3]
    assert fit_temperature(certain, "probabilities", y) == 1.0


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("rule", "keep"),
    [
        *((rule, "all") for rule in ("mean", "weighted", "geometric", "stacked", "vote", "median")),
        ("geometric", "useful"),
    ],
)
def test_members_that_give_exact_zeros_are_published_as_they_were_measured(
    rule: Any, keep: Any, tmp_path: Path
) -> None:
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.tree import DecisionTreeClassifier

    x, y = load_iris(return_X_y=True)
    x = (x + np.random.default_rng(0).normal(0, 0.02, x.shape)).astype(np.float32)  # no two neighbours equally near
    models = {
        "tree": DecisionTreeClassifier(random_state=0), "forest": RandomForestClassifier(5, random_state=0, n_jobs=1),
        "bayes": GaussianNB(), "neighbours": KNeighborsClassifier(3),
    }  # fmt: skip
    exporter = Exporter("iris", classes=("0", "1", "2"), rules=(rule,), publish=rule, keep=keep)
    for name, model in models.items():
        exporter.add(name, model.fit(x[::2], y[::2]))
    version = exporter.fit_fusion(x[1::2], y[1::2]).publish(tmp_path, accept_worse=True)
    assert len(version.manifest.members) == 4 or keep == "useful"
