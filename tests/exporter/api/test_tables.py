"""Columns of numbers and texts, with gaps, are inputs of an estimator, however the user holds the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter import Exporter
from exporter.errors import BundleError, DataError
from exporter.foreign.objects.columns import Columns
from exporter.foreign.objects.rows import rows_of
from exporter.foreign.objects.tables import legal_names, text_or_numbers
from model_repo import Input
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool

pytestmark = pytest.mark.timeout(300)

Table = NDArray[np.object_]


def people(rows: int = 400, gaps: float = 0.0) -> tuple[Table, NDArray[np.str_]]:
    """Age, hours and job as objects [n, 3], and who earns much; a share of ages and jobs is missing."""
    rng = np.random.default_rng(0)
    age, hours = rng.uniform(20, 70, rows), rng.integers(10, 60, rows)
    job = rng.choice(["cook", "pilot", "clerk"], rows)
    y = np.where(age / 70 + 0.4 * (job == "pilot") + rng.normal(0, 0.2, rows) > 0.9, "high", "low")
    table = np.empty((rows, 3), dtype=np.object_)
    table[:, 0], table[:, 1], table[:, 2] = age, hours, job
    table[rng.random(rows) < gaps, 0] = np.nan
    table[rng.random(rows) < gaps, 2] = ""
    return table, y


def pipeline() -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore")
    return make_pipeline(ColumnTransformer([("n", numbers, [0, 1]), ("w", words, [2])]), LogisticRegression())


def structured(table: Table) -> Any:
    found = np.empty(len(table), dtype=[("age", "f4"), ("hours worked", "f4"), ("job", "U10")])
    for place, name in enumerate(found.dtype.names or ()):
        found[name] = table[:, place]
    return found


class Frame:
    """What of a DataFrame is looked at."""

    def __init__(self, table: Table) -> None:
        self.columns = ["age", "hours worked", "job"]
        self._table = table

    def __getitem__(self, name: str) -> Table:
        return self._table[:, self.columns.index(name)]


FORMS: dict[str, Any] = {"objects": lambda table: table, "structured": structured, "frame": Frame,
                         "dict": lambda table: {name: Frame(table)[name] for name in Frame(table).columns}}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_pipeline_takes_columns_with_gaps_and_is_served_as_it_answers(form: str, tmp_path: Path) -> None:
    table, y = people(gaps=0.2)
    model = pipeline().fit(table[:200], y[:200])
    X = FORMS[form](table[200:])
    exporter = Exporter("own", classes=("low", "high"), missing="nan").add("line", model).fit_fusion(X, y[200:])
    version = exporter.publish(tmp_path, accept_worse=True)
    names = [entry.name for entry in version.manifest.inputs]
    assert names == (["column_0", "column_1", "column_2"] if form == "objects" else ["age", "hours_worked", "job"])
    assert [entry.datatype for entry in version.manifest.inputs] == ["FP32", "FP32", "BYTES"]
    assert [entry.missing for entry in version.manifest.inputs] == ["nan", "nan", "refuse"]
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    label = ensemble.predict(rows_of(X), ["label"]).outputs["label"].astype(str)
    ensemble.close()
    assert (label == model.predict(table[200:])).mean() > 0.97  # the fused answer has a temperature, no other class


def test_a_gap_is_refused_unless_it_is_said_to_be_a_missing_value() -> None:
    table, y = people(gaps=0.2)
    exporter = Exporter("own", classes=("low", "high")).add("line", pipeline().fit(table[:200], y[:200]))
    with pytest.raises(DataError, match="of input 'column_0' have a value that is not finite"):
        exporter.fit_fusion(table[200:], y[200:])


def test_columns_of_numbers_are_one_table_for_boosted_trees(tmp_path: Path) -> None:
    import lightgbm

    table, y = people()
    numbers = table[:, :2].astype(np.float32)
    model = lightgbm.LGBMClassifier(n_estimators=5, num_leaves=4, n_jobs=1, verbose=-1).fit(numbers[:200], y[:200])
    exporter = Exporter("own", classes=("low", "high")).add("trees", model)
    columns = {"age": table[200:, 0], "hours": numbers[200:, 1].astype(np.int64)}
    version = exporter.fit_fusion(columns, y[200:]).publish(tmp_path, accept_worse=True)
    assert [(entry.name, entry.datatype) for entry in version.manifest.inputs] == [("age", "FP32"), ("hours", "INT64")]
    texts = Exporter("own", classes=("low", "high")).add("trees", model)
    with pytest.raises(BundleError, match=r"member 'trees': takes texts \('job'\), which its library does not export"):
        texts.fit_fusion({"age": numbers[200:, 0], "job": table[200:, 2]}, y[200:])


def test_a_model_of_named_columns_takes_them_by_name() -> None:
    class Fitted:
        feature_names_in_ = np.array(["job", "hours worked"])

    tensors = [Input(name=name, datatype="FP32", shape=(-1,)) for name in ("age", "hours_worked", "job")]
    found = Columns.of("m", Fitted(), tensors)
    assert [entry.name for entry in found.tensors] == ["job", "hours_worked"]
    assert found.names == ("job", "hours worked")
    with pytest.raises(BundleError, match="member 'm': was fitted to columns that are no inputs: job"):
        Columns.of("m", Fitted(), tensors[:2])
    with pytest.raises(BundleError, match=r"takes columns; 'p' is FP32 \[-1, 8, 8\], expected numbers or texts"):
        Columns.of("m", object(), [Input(name="p", datatype="FP32", shape=(-1, 8, 8))])


def test_names_become_legal_and_stay_apart() -> None:
    names = ["hours worked", "hours/worked", "état", "_x", "1:0", "年"]
    assert list(legal_names(names).values()) == ["hours_worked", "hours_worked_2", "etat", "x", "1_0", "column"]


def test_objects_are_numbers_or_texts_whole() -> None:
    numbers = text_or_numbers(np.array([1, None, 2.5], dtype=np.object_))
    assert numbers.dtype == np.float32
    np.testing.assert_array_equal(numbers, np.array([1, np.nan, 2.5], dtype=np.float32))
    texts = text_or_numbers(np.array(["a", None, b"b", float("nan"), 3], dtype=np.object_))
    assert texts.tolist() == ["a", "", "b", "", "3"]


@pytest.mark.parametrize("form", ["classes", "two classes", "values"])
def test_histogram_boosting_is_a_member_with_its_own_gaps(form: str, tmp_path: Path) -> None:
    """skl2onnx 1.20 writes booleans where onnx 1.23 wants integers."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3)).astype(np.float32)
    y = x[:, 0] + 0.3 * rng.normal(size=500)
    x[rng.random(500) < 0.2, 1] = np.nan
    parts = {"classes": [-0.5, 0.5], "two classes": [0.0], "values": []}[form]
    target = np.digitize(y, parts) if parts else 1e3 * y
    kind = HistGradientBoostingClassifier if parts else HistGradientBoostingRegressor
    model = kind(max_iter=8, random_state=0).fit(x[:250], target[:250])
    classes = [str(k) for k in range(len(parts) + 1)] if parts else []
    exporter = Exporter("own", classes=classes, missing="nan").add("trees", model)
    version = exporter.fit_fusion(x[250:], target[250:]).publish(tmp_path, accept_worse=True)
    assert version.manifest.inputs[0].missing == "nan"
