"""A member is added, replaced or dropped without training; what stays is shared; order is told by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from exporter import Exporter
from exporter.cli.refit import main
from model_repo import Manifest, Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.exporter.api.samples import CLASSES, W, member, noisy, rows

ORDER = [2, 0, 1]
"""Of the new member's columns: cat, ant, bee."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with `own`/1: two members and a ledger."""
    folder = tmp_path_factory.mktemp("published")
    x, y = rows()
    Exporter("own", classes=CLASSES, keep="all").add("one", member(folder, "one", noisy(0.6, 1))).add(
        "two", member(folder, "two", noisy(0.6, 2), logits=True)
    ).fit_fusion(x, y).publish(folder / "models", accept_worse=True)
    return folder


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    import shutil

    shutil.copytree(published / "models", tmp_path / "models")
    return tmp_path


def refit(folder: Path, *words: str) -> int:
    return main(["own", "--repository", str(folder / "models"), "--accept-worse", *words])


def manifest(folder: Path, version: int) -> Manifest:
    return Repository(folder / "models").manifest("own", version)


def test_a_new_member_is_aligned_by_name_whatever_its_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = member(folder, "three", (2 * W)[:, ORDER])
    assert refit(folder, "--member", f"three={path}", "--classes-of", "three=cat,ant,bee", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["version"] == 2
    assert told["members"] == ["one", "two", "three"]
    assert told["loss"] < told["before"]  # the new member is the truth itself
    new = manifest(folder, 2).members[2]
    assert new.classes == ("cat", "ant", "bee")
    ensemble = LoadedEnsemble.open(Repository(folder / "models").open("own", 2), SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    x, _ = rows(50, seed=9)
    answers = ensemble.predict({"x": x}, ["members"]).outputs["members"]
    ensemble.close()
    assert np.array_equal(answers[:, 2].argmax(axis=1), (x @ W).argmax(axis=1))


def test_members_that_stay_are_the_same_files(folder: Path) -> None:
    assert refit(folder, "--publish", "mean") == 0
    first, second = manifest(folder, 1), manifest(folder, 2)
    assert [m.sha256 for m in first.members] == [m.sha256 for m in second.members]
    assert second.fusion.__struct_config__.tag == "mean"
    assert second.provenance["refit"]["from"] == 1
    Repository(folder / "models").verify("own", 2)


def test_a_member_whose_order_nobody_states_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = member(folder, "three", 2 * W)
    assert refit(folder, "--member", f"three={path}") == 2
    error = capsys.readouterr().err
    assert "does not say which column is which class: --classes-of three=A,B,…" in error
    assert Repository(folder / "models").versions("own") == [1]


def test_other_classes_are_refused_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = member(folder, "three", 2 * W)
    assert refit(folder, "--member", f"three={path}", "--classes-of", "three=ant,bee,dog") == 2
    assert "lacks 'cat' and has 'dog', unknown here" in capsys.readouterr().err


def test_the_order_that_a_graph_states_wins_over_nothing_and_contradicts_a_wrong_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    x, y = rows(300, seed=4)
    names = np.array(["z-ant", "y-bee", "a-cat"])  # sorted by scikit-learn into another order than ours
    model = LogisticRegression().fit(x, names[y])
    data = to_onnx(model, x[:1], options={id(model): {"zipmap": False}}, target_opset={"": 20, "ai.onnx.ml": 1})
    for node in data.graph.node:
        for attribute in node.attribute:
            if attribute.name == "classlabels_strings":
                attribute.strings[:] = [label[2:] for label in attribute.strings]
    data.graph.input[0].name = "x"
    for node in data.graph.node:
        node.input[:] = ["x" if name == "X" else name for name in node.input]
    path = folder / "three.onnx"
    path.write_bytes(data.SerializeToString())
    three = f"three={path}"
    assert refit(folder, "--member", three, "--output", "three=probabilities") == 0
    assert manifest(folder, 2).members[2].classes == ("cat", "bee", "ant")
    words = ["--member", three, "--output", "three=probabilities", "--classes-of", "three=ant,bee,cat"]
    assert refit(folder, "--version", "1", *words) == 2
    assert "its graph says the columns are 'cat', 'bee', 'ant', not 'ant', 'bee', 'cat'" in capsys.readouterr().err


def test_members_are_dropped_replaced_and_dropped_again(folder: Path) -> None:
    path = member(folder, "new", 2 * W)
    added = ["--member", f"two={path}", "--classes-of", "two=ant,bee,cat"]
    assert refit(folder, *added) == 0
    assert [m.name for m in manifest(folder, 2).members] == ["one", "two"]
    assert manifest(folder, 2).members[1].sha256 != manifest(folder, 1).members[1].sha256
    assert refit(folder, "--drop", "one") == 0
    assert [m.name for m in manifest(folder, 3).members] == ["two"]
    assert manifest(folder, 3).quorum == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--drop", "four"], "own/1: has no member four to drop; it has one, two"),
        (["--drop", "one", "--drop", "two"], "own/1: would have no member left"),
        (["--member", "three=missing.onnx"], "member 'three': 'missing.onnx' cannot be read: No such file"),
        (["--rules", "mean,best"], "--rules: best given, expected some of mean, weighted"),
        (["--classes-of", "one=ant,bee,cat"], "--classes-of: one is no new member; there are none"),
        (["--member", "three"], "--member: 'three' given, expected NAME=…"),
        (["--ledger", "missing.npz"], "ledger missing.npz: No such file"),
        (["--data", "folder"], "own/1 was not exported from a recipe"),
        (["--version", "7"], "own has no version 7; published: 1"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    published: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refit(published, *words) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert Repository(published / "models").versions("own") == [1]


def test_a_version_without_a_ledger_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = rows()
    exporter = Exporter("own", classes=CLASSES, ledger="none").add("one", member(tmp_path, "one", noisy(0.5, 1)))
    exporter.add("two", member(tmp_path, "two", noisy(0.5, 2))).fit_fusion(x, y)
    exporter.publish(tmp_path / "models", accept_worse=True)
    assert manifest(tmp_path, 1).ledger is None
    assert refit(tmp_path) == 2
    assert "own/1 has no ledger" in capsys.readouterr().err


def test_answers_without_rows_fit_weights_but_take_no_new_member(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = rows()
    exporter = Exporter("own", classes=CLASSES, ledger="answers").add("one", member(tmp_path, "one", noisy(0.5, 1)))
    exporter.add("two", member(tmp_path, "two", noisy(0.5, 2))).fit_fusion(x, y)
    exporter.publish(tmp_path / "models", accept_worse=True)
    assert refit(tmp_path, "--publish", "weighted") == 0
    path = member(tmp_path, "three", 2 * W)
    assert refit(tmp_path, "--member", f"three={path}", "--classes-of", "three=ant,bee,cat") == 2
    assert "keeps no rows for a new member to answer: give its data, --data DIR" in capsys.readouterr().err


def test_a_damaged_ledger_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = folder / "ledger.npz"
    broken.write_bytes(b"PK nothing")
    assert refit(folder, "--ledger", str(broken)) == 2
    assert "ledger.npz is no ledger" in capsys.readouterr().err
    (folder / "models" / "own" / "1" / "ledger.npz").write_bytes(b"PK nothing")
    assert refit(folder) == 2
    assert "own/1/ledger.npz has 10 bytes, the manifest says" in capsys.readouterr().err
