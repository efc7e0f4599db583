"""Members that were trained elsewhere become one served ensemble, or one clear sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter import Exporter
from exporter.errors import AcceptanceError, BundleError, DataError, ExportError, ParityError
from model_repo import Repository, Version
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests import graphs
from tests.exporter.api.samples import CLASSES, W, member, noisy, rows

PAGE = Path(__file__).parents[3] / "docs" / "python-api.md"

pytestmark = pytest.mark.timeout(300)  # the first conversion imports torch and its exporter


def served(version: Version, x: NDArray[Any], output: str) -> NDArray[Any]:
    """What a server would answer."""
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    found = ensemble.predict({"x": x}, [output]).outputs[output]
    ensemble.close()
    return np.asarray(found)


def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    exec(compile(code, str(PAGE), "exec"), {"__name__": "example"})  # noqa: S102 - our own page
    manifest = Repository("models").manifest("own-digits", 1)
    assert [(each.name, each.kind) for each in manifest.members] == [
        ("mlp", "logits"), ("linear", "probabilities"), ("gbm", "probabilities"),
    ]  # fmt: skip
    assert manifest.report["fused"]["log_loss"] <= manifest.report["best_single"]["log_loss"]
    assert {"mlp", "linear", "gbm"} == set(manifest.report["diversity"]["without"])
    assert {path.name for path in Path("reports/own-digits").iterdir()} >= {"leaderboard.txt", "confusion.png"}


def test_onnx_files_are_fused_measured_and_served(tmp_path: Path) -> None:
    x, y = rows()
    exporter = Exporter("own", classes=CLASSES, seed=1, publish="weighted", keep="all")
    exporter.add("one", member(tmp_path, "one", noisy(0.5, 1))).add("two", member(tmp_path, "two", noisy(0.5, 2)))
    exporter.fit_fusion(x, [CLASSES[c] for c in y], golden=12)
    version = exporter.publish(tmp_path / "models", version=5, accept_worse=True)
    assert (version.name, version.version) == ("own", 5)
    manifest = version.manifest
    assert (manifest.task, manifest.golden.rows) == ("classification", 12)
    assert [each.kind for each in manifest.members] == ["probabilities", "probabilities"]
    board = exporter.leaderboard
    assert board.published == "weighted"
    assert board.split == {"fusion": 280, "test": 120, "golden": 12}
    assert "own: weighted over 2 members" in exporter.summary()
    new_x, new_y = rows(2000, seed=8)
    p = served(version, new_x, "probabilities")
    assert (p.argmax(axis=1) == new_y).mean() > 0.6
    assert p.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_an_estimators_classes_are_aligned_by_name(tmp_path: Path) -> None:
    """scikit-learn sorts its labels: z, y, a are in another order than ours."""
    from sklearn.linear_model import LogisticRegression

    x, y = rows(600)
    names = ("z", "y", "a")
    model = LogisticRegression().fit(x[:200], np.array(names)[y[:200]])
    exporter = Exporter("own", classes=names).add("linear", model).fit_fusion(x[200:], np.array(names)[y[200:]])
    version = exporter.publish(tmp_path / "models")
    assert version.manifest.members[0].classes == ("a", "y", "z")
    expected = model.predict(x[200:])
    assert (served(version, x[200:], "label").astype(str) == expected).all()


def test_a_booster_and_a_forest_become_members(tmp_path: Path) -> None:
    import lightgbm
    from sklearn.ensemble import RandomForestClassifier

    x, y = rows(600)
    booster = lightgbm.train(
        {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_leaves": 4, "num_threads": 1},
        lightgbm.Dataset(x[:300], y[:300]), num_boost_round=5,
    )  # fmt: skip
    forest = RandomForestClassifier(n_estimators=10, max_depth=4, random_state=0).fit(x[:300], y[:300])
    exporter = Exporter("own", classes=CLASSES, keep="all").add("gbm", booster).add("forest", forest)
    version = exporter.fit_fusion(x[300:], y[300:]).publish(tmp_path / "models", accept_worse=True)
    members = served(version, x[300:], "members")
    assert np.array_equal(members[:, 0].argmax(axis=1), np.asarray(booster.predict(x[300:])).argmax(axis=1))
    assert np.array_equal(members[:, 1].argmax(axis=1), forest.predict_proba(x[300:]).argmax(axis=1))


def test_a_regression_has_no_classes(tmp_path: Path) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.tree import DecisionTreeRegressor

    x, _ = rows(500)
    y = x @ W[:, 0] + np.random.default_rng(0).normal(0, 0.3, 500)
    exporter = Exporter("own", metric="mae").add("ridge", Ridge().fit(x[:200], y[:200]))
    exporter.add("tree", DecisionTreeRegressor(max_depth=4, random_state=0).fit(x[:200].astype(np.float32), y[:200]))
    exporter.fit_fusion(x[200:400], y[200:400], test=(x[400:], y[400:]))
    assert exporter.leaderboard.metric == "mae"
    assert exporter.leaderboard.split["test"] == 100
    version = exporter.publish(tmp_path / "models", report=tmp_path / "report", accept_worse=True)
    assert (tmp_path / "report" / "residuals.png").exists()
    assert np.abs(served(version, x[400:], "value") - y[400:]).mean() < 0.4


def test_several_inputs_are_taken_by_name(tmp_path: Path) -> None:
    (tmp_path / "words.onnx").write_bytes(graphs.keyword(["tutti", "forte"], 2))
    x = np.array([["tutti"], ["x"], ["forte"], ["y"]] * 50, dtype=np.object_)
    y = np.array([1, 0, 1, 0] * 50)
    probe = Exporter("own", classes=("no", "yes")).add("words", str(tmp_path / "words.onnx"))
    with pytest.raises(ExportError, match="words"):
        probe.fit_fusion({"other": np.zeros((200, 1), dtype=np.float32), "more": x}, y)


Case = tuple[str, Callable[[Path], Exporter], Callable[[], tuple[Any, Any]], type[ExportError], str]


def good(folder: Path) -> Exporter:
    return Exporter("own", classes=CLASSES).add("one", member(folder, "one", W))


def nan_row() -> tuple[Any, Any]:
    x, y = rows()
    x[7, 2] = np.nan
    return x, y


def with_label(label: object) -> Callable[[], tuple[Any, Any]]:
    def made() -> tuple[Any, Any]:
        x, y = rows()
        names: list[object] = [CLASSES[c] for c in y]
        names[3] = label
        return x, names

    return made


CASES: list[Case] = [
    ("no member", lambda f: Exporter("own", classes=CLASSES), rows, BundleError, r"own: has no member: add\(\) one"),
    ("NaN", good, nan_row, DataError, "rows 7 of input 'x' have a value that is not finite"),
    ("an unknown label", good, with_label("dog"), DataError, "y has 'dog' in row 3, the classes are 'ant', 'bee'"),
    ("one class", good, lambda: (rows()[0], np.zeros(400, dtype=np.int64)), DataError, "no row has class 'bee', 'cat'"),
    ("unequal rows", good, lambda: (rows()[0], rows()[1][:10]), DataError, "y has 10 rows, the inputs have 400"),
    ("too few rows", good, lambda: (rows(12)[0], np.arange(12) % 3), DataError, "at least 5 are needed to fit a"),
    ("another width", good, lambda: (rows()[0][:, :3], rows()[1]), BundleError, "member 'one': does not run"),
    ("no file", lambda f: Exporter("own", classes=CLASSES).add("one", f / "no.onnx"), rows, BundleError,
     r"no\.onnx' cannot be read: No such file"),
    ("no model", lambda f: Exporter("own", classes=CLASSES).add("one", object()), rows, BundleError,
     "member 'one': is builtins.object, expected the path of an ONNX file, a torch module, or a fitted estimator"),
    ("two columns", lambda f: Exporter("own", classes=CLASSES).add("one", member(f, "one", W[:, :2])), rows,
     BundleError, "member 'one': gives 2 columns, expected 3"),
    ("NaN answers", lambda f: Exporter("own", classes=CLASSES).add("one", nan_member(f)), rows, BundleError,
     "member 'one': its output .* has NaN or infinite values on sample rows"),
]  # fmt: skip


def nan_member(folder: Path) -> str:
    path = folder / "nan.onnx"
    path.write_bytes(graphs.nan_above(0.0, W))
    return str(path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_what_does_not_fit_is_told(case: Case, tmp_path: Path) -> None:
    _, make, data, error, message = case
    x, y = data()
    with pytest.raises(error, match=message):
        make(tmp_path).fit_fusion(x, y).publish(tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_an_estimator_with_other_classes_is_refused(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    x, y = rows()
    model = LogisticRegression().fit(x, np.array(["ant", "bee", "dog"])[y])
    with pytest.raises(BundleError, match="member 'linear': lacks 'cat' and has 'dog', unknown here"):
        Exporter("own", classes=CLASSES).add("linear", model).fit_fusion(x, y)


def test_a_module_must_say_what_it_gives_and_is_left_as_it_was() -> None:
    import torch

    x, y = rows()
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.5)).train()
    with pytest.raises(BundleError, match="kind='logits' or 'probabilities'"):
        Exporter("own", classes=CLASSES).add("net", module).fit_fusion(x, y)
    Exporter("own", classes=CLASSES).add("net", module, kind="logits").fit_fusion(x, y)
    assert module.training


def test_a_module_whose_branch_on_the_batch_size_froze_is_refused() -> None:
    import torch

    class Frozen(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.linear(x) / x.shape[0] if x.shape[0] > 5 else self.linear(x)
            return found

    x, y = rows()
    with pytest.raises(ParityError, match="member 'net': in batches of "):
        Exporter("own", classes=CLASSES).add("net", Frozen(), kind="logits").fit_fusion(x, y)


def test_a_fusion_that_is_worse_than_its_best_member_is_not_published_unasked(tmp_path: Path) -> None:
    x, y = rows(900)
    exporter = Exporter("own", classes=CLASSES, publish="vote").add("true", member(tmp_path, "true", 2 * W))
    exporter.add("other", member(tmp_path, "other", noisy(2.0, 5))).fit_fusion(x, y)
    with pytest.raises(AcceptanceError, match=r"own is not published: log-loss is .* member 'true' alone has"):
        exporter.publish(tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_nothing_can_be_asked_before_the_fit(tmp_path: Path) -> None:
    exporter = good(tmp_path)
    with pytest.raises(BundleError, match=r"has no fusion yet: call fit_fusion\(X, y\) first"):
        exporter.publish(tmp_path / "models")
    with pytest.raises(BundleError, match="member 'one': is added twice"):
        exporter.add("one", member(tmp_path, "one", W))
