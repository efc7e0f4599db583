"""Targets as people hold them: texts, truth values, whole numbers as floats, numbers that begin elsewhere than at 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.naive_bayes import GaussianNB

from exporter import Exporter
from exporter.errors import BundleError, DataError
from tests.exporter.api.samples import rows

X, Y = rows(400)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array(["ant", "bee", "cat"])[Y], ("ant", "bee", "cat")),
        (Y.astype(np.float64), ("0", "1", "2")),
        (Y.astype(np.float32), ("ant", "bee", "cat")),
        (np.array([3.0, 5.0, 7.0])[Y], (3, 5, 7)),
        (np.array([3, 5, 7])[Y], (3.0, 5.0, 7.0)),
        (np.array(["1.0", "1.5", "2.0"])[Y], ("1.0", "1.5", "2.0")),
        (Y > 0, ("no", "yes")),
        (Y > 0, (False, True)),
    ],
    ids=["texts", "floats", "counted floats", "other floats", "float classes", "texts of floats", "truth", "its names"],
)
def test_targets_are_the_classes_by_name_or_count_them(y: Any, classes: Any, tmp_path: Path) -> None:
    exporter = Exporter("any", classes=classes, keep="all", alpha=None)
    for name, model in (("linear", LogisticRegression()), ("bayes", GaussianNB())):
        exporter.add(name, model.fit(X[:150], y[:150]))
    version = exporter.fit_fusion(X[150:], y[150:]).publish(tmp_path, accept_worse=True)
    names = [str(int(each)) if isinstance(each, float) else str(each) for each in classes]
    assert list(version.manifest.classes) == names
    assert (exporter.leaderboard.row("linear").metrics.accuracy or 0) > 0.6, "no two columns are exchanged"


def test_what_is_no_class_is_named() -> None:
    model = LogisticRegression().fit(X, Y)
    with pytest.raises(DataError, match=r"y has '1\.5' in row 1"):
        Exporter("any", classes=("0", "1", "2")).add("m", model).fit_fusion(X[:20], np.array([0, 1.5] * 10))
    with pytest.raises(DataError, match="y has 'nan' in row 1"):
        Exporter("any", classes=("0", "1", "2")).add("m", model).fit_fusion(X[:20], np.array([0, np.nan] * 10))


def test_a_classifier_without_probabilities_is_told_the_way_out() -> None:
    exporter = Exporter("any", classes=("0", "1", "2")).add("m", RidgeClassifier().fit(X, Y))
    with pytest.raises(BundleError, match=r"RidgeClassifier is no fitted classifier .* CalibratedClassifierCV"):
        exporter.fit_fusion(X, Y)


@pytest.mark.parametrize("count", [0, 1, 2, 6])
def test_too_few_rows_are_told_before_anything_is_asked(count: int) -> None:
    values = X.sum(axis=1)
    exporter = Exporter("any").add("m", Ridge().fit(X, values))
    with pytest.raises(DataError, match=r"X has no rows|at least 5 and 1 are needed"):
        exporter.fit_fusion(X[:count], values[:count])
    with pytest.raises(DataError, match="5 rows to fit the fusion and 0 to test it"):
        exporter.fit_fusion(X[:5], values[:5], test=(X[:0], values[:0]))
