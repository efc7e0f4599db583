"""Boosted trees of other libraries become members: converted, compared with themselves, aligned by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import catboost
import numpy as np
import onnx
import pytest
import xgboost
from onnx import helper

from exporter import Exporter
from exporter.errors import ConversionError, ParityError
from exporter.foreign.objects.estimator import from_estimator
from model_repo import Input
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.exporter.api.samples import CLASSES, W, rows

pytestmark = pytest.mark.timeout(300)

TABLE = Input(name="x", datatype="FP32", shape=(-1, 4))


def served(exporter: Exporter, folder: Path, x: Any, output: str) -> Any:
    """What a server would answer."""
    version = exporter.publish(folder / "models", accept_worse=True)
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    found = ensemble.predict({"x": x}, [output]).outputs[output]
    ensemble.close()
    return found


@pytest.mark.parametrize("form", ["classifier", "booster"])
def test_xgboost_is_a_member_with_its_classes(form: str, tmp_path: Path) -> None:
    x, y = rows(600)
    model = xgboost.XGBClassifier(n_estimators=8, max_depth=3, n_jobs=1).fit(x[:300], y[:300])
    member = model if form == "classifier" else model.get_booster()
    exporter = Exporter("own", classes=CLASSES).add("gbm", member).fit_fusion(x[300:], y[300:])
    found = served(exporter, tmp_path, x[300:], "members")[:, 0]
    np.testing.assert_array_equal(found.argmax(axis=1), model.predict(x[300:]))


def test_xgboost_of_two_classes_keeps_their_order(tmp_path: Path) -> None:
    x, _ = rows(600)
    y = (x[:, 0] > 0.3).astype(int)
    model = xgboost.XGBClassifier(n_estimators=8, max_depth=2, n_jobs=1).fit(x[:300], y[:300])
    exporter = Exporter("own", classes=("no", "yes"))
    exporter.add("model", model).add("booster", model.get_booster()).fit_fusion(
        x[300:], np.array(["no", "yes"])[y[300:]]
    )
    found = served(exporter, tmp_path, x[300:], "probabilities")
    np.testing.assert_array_equal(found.argmax(axis=1), model.predict(x[300:]))


def test_xgboost_answers_at_the_scale_of_its_targets(tmp_path: Path) -> None:
    x, _ = rows(600)
    y = 1e6 + 1e5 * (x @ W[:, 0])
    model = xgboost.XGBRegressor(n_estimators=20, n_jobs=1).fit(x[:300], y[:300])
    exporter = Exporter("own").add("gbm", model).fit_fusion(x[300:], y[300:])
    np.testing.assert_allclose(served(exporter, tmp_path, x[300:], "value"), model.predict(x[300:]), rtol=1e-5)


def test_what_xgboosts_converter_gets_wrong_is_refused_by_the_gate() -> None:
    """Its random forests: onnxmltools divides by the number of trees twice (by up to 0.58 of a probability)."""
    x, y = rows(600)
    forest = xgboost.XGBRFClassifier(n_estimators=5, n_jobs=1).fit(x[:300], y[:300])
    with pytest.raises(ParityError, match="member 'forest': in batches of 1"):
        Exporter("own", classes=CLASSES).add("forest", forest).fit_fusion(x[300:], y[300:])
    linear = xgboost.XGBRegressor(n_estimators=5, n_jobs=1, booster="gblinear").fit(x, x[:, 0])
    with pytest.raises(ConversionError, match="member 'm': the trees cannot be converted"):
        Exporter("own").add("m", linear).fit_fusion(x, x[:, 0])


def test_catboost_is_a_member_with_its_classes(tmp_path: Path) -> None:
    x, y = rows(600)
    names = np.array(CLASSES)[::-1][y]  # in another order than its own, which is by the alphabet
    model = catboost.CatBoostClassifier(iterations=8, verbose=0, thread_count=1, allow_writing_files=False)
    model.fit(x[:300], names[:300])
    exporter = Exporter("own", classes=CLASSES[::-1]).add("gbm", model).fit_fusion(x[300:], names[300:])
    found = served(exporter, tmp_path, x[300:], "label")
    np.testing.assert_array_equal(found.astype(str), model.predict(x[300:]).ravel())


def test_catboost_answers_at_the_scale_of_its_targets(tmp_path: Path) -> None:
    x, _ = rows(600)
    y = 1e6 + 1e5 * (x @ W[:, 0])
    model = catboost.CatBoostRegressor(iterations=20, verbose=0, thread_count=1, allow_writing_files=False)
    model.fit(x[:300], y[:300])
    exporter = Exporter("own").add("gbm", model).fit_fusion(x[300:], y[300:])
    found = served(exporter, tmp_path, x[300:], "value")
    # Near 0 the sum of leaves of up to 1e6 keeps the last digits of FP32, which its own FP64 does not lose.
    np.testing.assert_allclose(found, model.predict(x[300:]), rtol=1e-5, atol=0.1)


class Writes:
    """As CatBoost exports a classifier: its own opset, a ZipMap behind the probabilities, one stump."""

    __module__ = "catboost.core"
    classes_ = np.array(["no", "yes"])

    def save_model(self, path: str, format: str) -> None:
        """The file, in the one format that is asked for."""
        assert format == "onnx"
        stump = helper.make_node(
            "TreeEnsembleClassifier", ["features"], ["label", "probability_tensor"], domain="ai.onnx.ml",
            nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0], nodes_values=[0.5, 0.0, 0.0],
            nodes_modes=["BRANCH_GT", "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
            class_treeids=[0] * 4, class_nodeids=[1, 1, 2, 2], class_ids=[0, 1, 0, 1],
            class_weights=[-2.0, 2.0, 2.0, -2.0],
            classlabels_strings=["no", "yes"], post_transform="LOGISTIC",
        )  # fmt: skip
        zipped = helper.make_node(
            "ZipMap", ["probability_tensor"], ["probabilities"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"]
        )
        pairs = helper.make_map_type_proto(onnx.TensorProto.STRING, helper.make_tensor_type_proto(1, None))
        graph = helper.make_graph(
            [stump, zipped], "catboost",
            [helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["N", 4])],
            [helper.make_tensor_value_info("label", onnx.TensorProto.STRING, ["N"]),
             helper.make_value_info("probabilities", helper.make_sequence_type_proto(pairs))],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 2)], ir_version=8)
        onnx.save(model, path)

    def predict_proba(self, x: Any) -> Any:
        """float32 [n, 2]."""
        second = 1 / (1 + np.exp(-np.where(x[:, 0] > 0.5, 2.0, -2.0)))
        return np.stack([1 - second, second], axis=1)

    def predict(self, x: Any) -> Any:
        """Labels."""
        return self.classes_[self.predict_proba(x).argmax(axis=1)]


def test_catboosts_own_file_loses_its_map_and_joins_the_operator_set_of_the_others(tmp_path: Path) -> None:
    found = from_estimator("gbm", Writes(), [TABLE], 2, None)
    graph = onnx.load_from_string(found.onnx)
    assert found.labels == ("no", "yes")
    assert {entry.domain: entry.version for entry in graph.opset_import} == {"": 20, "ai.onnx.ml": 1}
    assert "ZipMap" not in {node.op_type for node in graph.graph.node}
    x, _ = rows(600)
    y = (x[:, 0] > 0.5).astype(int)
    exporter = Exporter("own", classes=("yes", "no")).add("gbm", Writes()).fit_fusion(x, np.array(["no", "yes"])[y])
    assert (served(exporter, tmp_path, x, "probabilities").argmax(axis=1) == 1 - y).all()
