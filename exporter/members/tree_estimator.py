"""The classifiers behind tree members on features of pixels or sound: one seed, one thread, one result."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class TreeSpec(Protocol):
    """What a family says of its trees."""

    @property
    def algorithm(self) -> str:
        """`lightgbm`, `random_forest` or `extra_trees`."""

    @property
    def trees(self) -> int:
        """Boosting rounds, or trees of the forest."""

    @property
    def leaves(self) -> int:
        """LightGBM alone."""

    @property
    def learning_rate(self) -> float:
        """LightGBM alone."""


def tree_classifier(spec: TreeSpec, seed: int, columns_per_tree: float) -> Any:
    """A classifier that is not fitted yet; LightGBM sees the share `columns_per_tree` of the features in each tree."""
    if spec.algorithm == "lightgbm":
        from lightgbm import LGBMClassifier

        return LGBMClassifier(
            n_estimators=spec.trees, num_leaves=spec.leaves, learning_rate=spec.learning_rate,
            colsample_bytree=columns_per_tree, subsample=0.7, subsample_freq=1,
            n_jobs=1, random_state=seed, deterministic=True, force_row_wise=True, verbose=-1,
        )  # fmt: skip
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    forest = RandomForestClassifier if spec.algorithm == "random_forest" else ExtraTreesClassifier
    return forest(n_estimators=spec.trees, random_state=seed, n_jobs=1)


def tree_probabilities(estimator: Any, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [n, C] of features [n, width]."""
    with warnings.catch_warnings():
        # LightGBM names its own features and scikit-learn then misses the names in plain arrays.
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        found: NDArray[np.float32] = estimator.predict_proba(features).astype(np.float32)
    return found
