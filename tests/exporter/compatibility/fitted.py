"""Models of scikit-learn and LightGBM, converted as their converters do by themselves."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.exporter.compatibility.table import Brought, Expected

_RANDOM = np.random.default_rng(11)
X: NDArray[np.float32] = _RANDOM.normal(size=(120, 4)).astype(np.float32)
PLACES: NDArray[np.int64] = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)
NAMES = np.array(["cat", "dog", "eel"])
TEST: NDArray[np.float32] = _RANDOM.normal(size=(7, 4)).astype(np.float32)
LABELS: NDArray[np.int64] = np.stack([X[:, 0] > 0, X[:, 1] > 0.3, X[:, 2] > -0.3], axis=1).astype(np.int64)


def written(path: Path, model: Any, data: Any = X[:1], **options: Any) -> None:
    """The fitted model as skl2onnx converts it."""
    from skl2onnx import to_onnx

    opsets = {"": 17, "ai.onnx.ml": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = "initial_types" if isinstance(data, list) else "X"
        made = to_onnx(model, target_opset=opsets, options=options or None, **{kind: data})
    path.write_bytes(made.SerializeToString())


def probabilities(model: Any, order: tuple[str, ...] = ("cat", "dog", "eel")) -> Expected:
    """Its own answers, in the order of `order`."""
    p = model.predict_proba(TEST)
    column = {str(name): place for place, name in enumerate(model.classes_)}
    p = p[:, [column[name] for name in order]]
    label = np.array(order)[p.argmax(axis=1)]
    return Expected({"X": TEST}, {"probabilities": p, "label": label}, order)


def forest() -> Any:
    """A small random forest of three classes of names."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(5, max_depth=3, random_state=0).fit(X, NAMES[PLACES])


def plain(folder: Path) -> Expected:
    model = forest()
    written(folder / "rf.onnx", model)
    return probabilities(model)


def without_zipmap(folder: Path) -> Expected:
    model = forest()
    written(folder / "rf.onnx", model, zipmap=False)
    return probabilities(model)


def as_columns(folder: Path) -> Expected:
    model = forest()
    written(folder / "rf.onnx", model, zipmap="columns")
    return probabilities(model)


def pipelines(folder: Path) -> Expected:
    from sklearn.ensemble import StackingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaled = make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=50, random_state=0))
    stacked = StackingClassifier([("line", LogisticRegression()), ("bayes", GaussianNB())])
    order = ("eel", "cat", "dog")
    found = []
    for name, model in (("mlp", scaled), ("bayes", GaussianNB()), ("stack", stacked)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 50 steps are few
            model.fit(X, NAMES[PLACES])
        written(folder / f"{name}.onnx", model, zipmap=name != "mlp")
        found.append(probabilities(model, order).outputs["probabilities"])
    p = np.mean(found, axis=0)
    return Expected({"X": TEST}, {"probabilities": p, "label": np.array(order)[p.argmax(axis=1)]}, order)


def string_columns(folder: Path) -> Expected:
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    cities = np.array(["rome", "oslo", "lima"])[PLACES]
    table = np.column_stack([X[:, :2].astype(np.object_), cities.astype(np.object_)])
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer([("n", StandardScaler(), [0, 1]), ("c", encoder, [2])])
    model = make_pipeline(columns, RandomForestClassifier(5, max_depth=3, random_state=0))
    model.fit(table, np.where(X[:, 0] + (cities == "rome") > 0.3, "yes", "no"))
    kinds = [("age", FloatTensorType), ("pay", FloatTensorType), ("city", StringTensorType)]
    written(folder / "forest.onnx", model, [(name, kind([None, 1])) for name, kind in kinds])
    feeds: dict[str, NDArray[Any]] = {"age": X[:9, :1], "pay": X[:9, 1:2], "city": table[:9, 2:]}
    return Expected(feeds, {"probabilities": model.predict_proba(table[:9])}, ("no", "yes"))


def votes(folder: Path) -> Expected:
    from sklearn.svm import LinearSVC
    from sklearn.tree import DecisionTreeClassifier

    svc = LinearSVC(random_state=0).fit(X, NAMES[PLACES])
    tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, NAMES[PLACES])
    written(folder / "svc.onnx", svc)
    written(folder / "tree.onnx", tree, zipmap=False)
    ones = [model.predict(TEST)[:, None] == NAMES[None] for model in (svc, tree)]
    return Expected({"X": TEST}, {"probabilities": np.mean(ones, axis=0)}, tuple(NAMES))


def several_labels(folder: Path) -> Expected:
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    model = OneVsRestClassifier(LogisticRegression()).fit(X, LABELS)
    written(folder / "ovr.onnx", model, zipmap=False)
    p = model.predict_proba(TEST)
    return Expected({"X": TEST}, {"probabilities": p, "labels": p >= 0.5}, ("news", "sport", "art"))


def several_trees(folder: Path) -> Expected:
    """Its trees answer [L, n, 2], its MultiOutputClassifier a list of [n, 2]."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.multioutput import MultiOutputClassifier

    forest = RandomForestClassifier(5, max_depth=3, random_state=0).fit(X, LABELS)
    lines = MultiOutputClassifier(LogisticRegression()).fit(X, LABELS)
    written(folder / "rf.onnx", forest)
    written(folder / "lines.onnx", lines)
    each = [np.stack([p[:, 1] for p in model.predict_proba(TEST)], axis=1) for model in (forest, lines)]
    told = ("holds labels", "the tensors of its list 'probabilities' are one")
    return Expected({"X": TEST}, {"probabilities": np.mean(each, axis=0)}, ("news", "sport", "art"), told=told)


def several_targets(folder: Path) -> Expected:
    from sklearn.ensemble import RandomForestRegressor

    model = RandomForestRegressor(5, max_depth=3, random_state=0).fit(X, 10 * X[:, :2])
    written(folder / "trees.onnx", model)
    return Expected({"X": TEST}, {"value": model.predict(TEST)}, atol=1e-4, told=("is declared as [n, 2]",))


def boosted(path: Path, target: NDArray[Any], tensor: str = "X") -> Any:
    """A LightGBM classifier of the target, written by onnxmltools with an input of that name."""
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    model = lightgbm.LGBMClassifier(n_estimators=4, verbose=-1, deterministic=True, n_jobs=1).fit(X, target)
    path.write_bytes(convert_lightgbm(model, initial_types=[(tensor, FloatTensorType([None, 4]))]).SerializeToString())
    return model


def lightgbm_names(folder: Path) -> Expected:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses the names that it gave to columns
        return probabilities(boosted(folder / "gbm.onnx", NAMES[PLACES]))


def lightgbm_places(folder: Path) -> Expected:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        p = boosted(folder / "gbm.onnx", (X[:, 0] > 0).astype(np.int64)).predict_proba(TEST)
    return Expected({"X": TEST}, {"probabilities": p}, ("ok", "fraud"))


BROUGHT: dict[str, Brought] = {
    "scikit-learn, as skl2onnx writes it by itself": plain,
    "scikit-learn with `zipmap=False`": without_zipmap,
    "scikit-learn with `zipmap='columns'`": as_columns,
    "scikit-learn pipelines of several kinds": pipelines,
    "scikit-learn with columns of strings and of numbers": string_columns,
    "scikit-learn without probabilities (LinearSVC)": votes,
    "scikit-learn, several labels a row": several_labels,
    "scikit-learn, several labels a row, by trees and by one model a label": several_trees,
    "scikit-learn regressor of several targets": several_targets,
    "LightGBM through onnxmltools": lightgbm_names,
    "LightGBM with labels 0, 1": lightgbm_places,
}
