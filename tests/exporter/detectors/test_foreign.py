"""Made-up rows, and the figure that says how well a score tells them from real ones."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from exporter.detectors.foreign import auroc, permuted, random_rows

X = np.random.default_rng(0).normal(size=(60, 2, 3)).astype(np.float32)
WORDS = np.array([["red", "car"], ["blue", "bus"], ["red", "bus"]] * 20, np.object_)


@pytest.mark.parametrize("step", [0.0, 1.0, 0.25], ids=["continuous", "whole", "quarters"])
def test_auroc_is_that_of_scikit_learn_ties_included(step: float) -> None:
    rng = np.random.default_rng(1)
    usual, strange = rng.normal(size=70), rng.normal(0.7, size=40)
    if step:
        usual, strange = np.round(usual / step) * step, np.round(strange / step) * step
    expected = roc_auc_score(np.repeat([0, 1], [70, 40]), np.concatenate([usual, strange]))
    assert auroc(usual, strange) == pytest.approx(expected, abs=1e-12)
    assert auroc(np.zeros(3), np.zeros(5)) == 0.5


def test_permuted_rows_keep_each_column_and_break_the_rows() -> None:
    found = permuted({"x": X, "words": WORDS}, seed=0)
    np.testing.assert_array_equal(np.sort(found["x"], axis=0), np.sort(X, axis=0))
    assert sorted(found["words"][:, 1]) == sorted(WORDS[:, 1])
    assert not any((row == X).all(axis=(1, 2)).any() for row in found["x"])
    again = permuted({"x": X, "words": WORDS}, seed=0)
    np.testing.assert_array_equal(found["x"], again["x"])


def test_random_rows_are_within_the_range_and_of_the_same_kind() -> None:
    whole = np.arange(30, dtype=np.uint8).reshape(10, 3)
    found = random_rows({"x": X, "whole": whole, "words": WORDS}, seed=0)
    assert found["x"].min() >= X.min()
    assert found["x"].max() <= X.max()
    assert found["whole"].dtype == np.uint8
    assert found["whole"].shape == (10, 3)
    assert set(found["words"].ravel()) <= set(WORDS.ravel())
    assert found["x"].dtype == np.float32
