"""Trees on tables: LightGBM, random forests, extremely randomised trees."""

from __future__ import annotations

from typing import Any

from exporter.conversion.label_trees import BoostedLabels, LabelForest
from exporter.data.dataset import Rows
from exporter.members.base import Setting, Trained
from exporter.members.feature_trees import FeatureTrees
from exporter.tables.families.tree import Tree
from exporter.tables.networks.features import TreeFeatures
from exporter.tables.networks.words import train_on_words


def train_trees(spec: Tree, rows: Rows, setting: Setting) -> Trained:
    """A member with probabilities, or with a value."""

    def grown(placed: Rows, inner: Setting) -> Trained:
        features = TreeFeatures(placed, inner, spec.categories)
        return FeatureTrees(features, _estimator(spec, inner), inner, features.columns.takes).fit(placed)

    return train_on_words(grown, rows, setting)


def _estimator(spec: Tree, setting: Setting) -> Any:
    if setting.task == "multilabel":
        made = _plain(spec, setting, classifies=spec.algorithm == "lightgbm")
        return BoostedLabels(made) if spec.algorithm == "lightgbm" else LabelForest(made)
    return _plain(spec, setting, classifies=setting.task == "classification")


def _plain(spec: Tree, setting: Setting, *, classifies: bool) -> Any:
    if spec.algorithm == "lightgbm":
        import lightgbm

        kind = lightgbm.LGBMClassifier if classifies else lightgbm.LGBMRegressor
        return kind(
            n_estimators=spec.trees, num_leaves=spec.leaves, max_depth=spec.depth or -1,
            learning_rate=spec.learning_rate, min_child_samples=spec.leaf_rows, reg_lambda=spec.ridge,
            colsample_bytree=spec.columns, subsample=spec.rows, subsample_freq=1,
            n_jobs=1, random_state=setting.seed, deterministic=True, force_row_wise=True, verbose=-1,
        )  # fmt: skip
    from sklearn import ensemble

    forests = {
        ("random_forest", True): ensemble.RandomForestClassifier,
        ("random_forest", False): ensemble.RandomForestRegressor,
        ("extra_trees", True): ensemble.ExtraTreesClassifier,
        ("extra_trees", False): ensemble.ExtraTreesRegressor,
    }
    return forests[spec.algorithm, classifies](
        n_estimators=spec.trees, max_depth=spec.depth or None, min_samples_leaf=spec.leaf_rows,
        max_features=spec.columns, n_jobs=1, random_state=setting.seed,
    )  # fmt: skip
