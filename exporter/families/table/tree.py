"""Tree ensembles on tables: gradient boosting, random forests, extremely randomised trees."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from exporter.data.dataset import Rows
from exporter.families.base import Count, Family, NotNegative, Rate, Setting, Trained

Part = Annotated[float, Meta(gt=0, le=1)]


class Tree(Family, frozen=True, kw_only=True, tag="tree"):
    """Trees on the numbers (gaps filled, and told) and on the categories; of classes, labels or a value."""

    algorithm: Literal["lightgbm", "random_forest", "extra_trees"] = "lightgbm"
    categories: Literal["codes", "means", "one_hot"] = "codes"
    """By frequency, by the mean target of the fit rows, or one column each."""
    trees: Count = 300
    """Boosting rounds (one tree per class each, of two classes one), or trees of the forest."""
    leaves: Annotated[int, Meta(ge=2)] = 31
    """LightGBM alone: leaves per tree."""
    depth: Annotated[int, Meta(ge=0)] = 0
    """Of each tree; 0: no limit."""
    learning_rate: Rate = 0.05
    """LightGBM alone."""
    leaf_rows: Count = 20
    """Fewest fit rows in a leaf."""
    columns: Part = 0.5
    """Share of the features that a tree (LightGBM) or a split (forests) may choose from."""
    rows: Part = 0.8
    """LightGBM alone: share of the rows that each tree is grown on."""
    ridge: NotNegative = 0.0
    """LightGBM alone: pull of the leaves towards 0."""

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with probabilities, or with a value."""
        from exporter.families.table.words import train_on_words
        from exporter.networks.feature_trees import FeatureTrees
        from exporter.networks.table.features import TreeFeatures

        def grown(placed: Rows, inner: Setting) -> Trained:
            features = TreeFeatures(placed, inner, self.categories)
            return FeatureTrees(features, self._estimator(inner), inner, features.columns.takes).fit(placed)

        return train_on_words(grown, rows, setting)

    def _estimator(self, setting: Setting) -> Any:
        if setting.task == "multilabel":
            from exporter.conversion.label_trees import BoostedLabels, LabelForest

            made = self._plain(setting, classifies=self.algorithm == "lightgbm")
            return BoostedLabels(made) if self.algorithm == "lightgbm" else LabelForest(made)
        return self._plain(setting, classifies=setting.task == "classification")

    def _plain(self, setting: Setting, *, classifies: bool) -> Any:
        if self.algorithm == "lightgbm":
            import lightgbm

            kind = lightgbm.LGBMClassifier if classifies else lightgbm.LGBMRegressor
            return kind(
                n_estimators=self.trees, num_leaves=self.leaves, max_depth=self.depth or -1,
                learning_rate=self.learning_rate, min_child_samples=self.leaf_rows, reg_lambda=self.ridge,
                colsample_bytree=self.columns, subsample=self.rows, subsample_freq=1,
                n_jobs=1, random_state=setting.seed, deterministic=True, force_row_wise=True, verbose=-1,
            )  # fmt: skip
        from sklearn import ensemble

        forests = {
            ("random_forest", True): ensemble.RandomForestClassifier,
            ("random_forest", False): ensemble.RandomForestRegressor,
            ("extra_trees", True): ensemble.ExtraTreesClassifier,
            ("extra_trees", False): ensemble.ExtraTreesRegressor,
        }
        return forests[self.algorithm, classifies](
            n_estimators=self.trees, max_depth=self.depth or None, min_samples_leaf=self.leaf_rows,
            max_features=self.columns, n_jobs=1, random_state=setting.seed,
        )  # fmt: skip
