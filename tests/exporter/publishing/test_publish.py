"""`tutti publish`: any ONNX files become an ensemble that serves, or one clear list of what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from exporter.cli.publish import main
from model_repo import Repository, Weighted
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests import graphs

W = np.random.default_rng(3).normal(size=(4, 3))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of models that do and do not fit each other."""
    made = {
        "soft": graphs.softmax_linear(W),
        "logits": graphs.linear(W),
        "value": graphs.linear(W[:, :1]),
        "sigmoid": graphs.sigmoid_linear(W[:, :1]),
        "wide": graphs.softmax_linear(np.ones((5, 3))),
        "two": graphs.softmax_linear(W[:, :2]),
        "fixed": graphs.fixed_batch(W),
        "nan": graphs.nan_above(-100.0, W),
        "words": graphs.keyword(["tutti", "forte"], 3),
    }
    for name, data in made.items():
        (tmp_path / f"{name}.onnx").write_bytes(data)
    model, weights = graphs.with_external(graphs.softmax_linear(W), "weights.bin")
    (tmp_path / "external.onnx").write_bytes(model)
    (tmp_path / "weights.bin").write_bytes(weights)
    (tmp_path / "garbage.onnx").write_bytes(b"no model")
    return tmp_path


def publish(files: Path, *words: str, members: str) -> int:
    flags = [flag for name in members.split() for flag in ("--member", f"{name}={files / name}.onnx")]
    return main(["own", *flags, "--repository", str(files / "models"), *words])


def loaded(files: Path, version: int = 1) -> LoadedEnsemble:
    """The published version, opened and held to its golden rows as a server does."""
    opened = Repository(files / "models").open("own", version)
    ensemble = LoadedEnsemble.open(opened, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    return ensemble


def test_probabilities_and_logits_are_told_apart_by_running_them(files: Path) -> None:
    assert publish(files, "--fusion", "weighted", "--weights", "3,1", "--classes", "a,b,c", members="soft logits") == 0
    ensemble = loaded(files)
    manifest = ensemble.manifest
    assert [member.kind for member in manifest.members] == ["probabilities", "logits"]
    assert [member.weight for member in manifest.members] == [3.0, 1.0]
    assert (manifest.fusion, manifest.classes, manifest.quorum) == (Weighted(), ("a", "b", "c"), 1)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    found = ensemble.predict({"x": x}, ("probabilities",)).outputs["probabilities"]
    z = np.exp(x @ W)
    np.testing.assert_allclose(found, z / z.sum(axis=1, keepdims=True), atol=1e-5)
    ensemble.close()


def test_weights_without_a_rule_mean_the_weighted_one(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "other.onnx").write_bytes(graphs.softmax_linear(-W))
    assert publish(files, "--weights", "0.9,0.1", members="soft other") == 0
    assert "classification, 3 classes, weighted" in capsys.readouterr().out
    ensemble = loaded(files)
    assert ensemble.manifest.fusion == Weighted()
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    found = ensemble.predict({"x": x}, ("probabilities",)).outputs["probabilities"]
    a, b = np.exp(x @ W), np.exp(-x @ W)
    wanted = 0.9 * a / a.sum(axis=1, keepdims=True) + 0.1 * b / b.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    ensemble.close()


def test_weights_are_taken_by_every_rule_that_has_some(files: Path) -> None:
    for version, rule in enumerate(("vote", "geometric"), 1):
        assert publish(files, "--weights", "3,1", "--fusion", rule, members="soft logits") == 0
        members = Repository(files / "models").open("own", version).manifest.members
        assert [member.weight for member in members] == [3.0, 1.0]


def test_one_column_is_a_regression(files: Path) -> None:
    assert publish(files, members="value") == 0
    ensemble = loaded(files)
    assert (ensemble.manifest.task, ensemble.manifest.classes) == ("regression", ())
    ensemble.close()


def test_one_column_with_two_classes_is_a_binary_classifier(files: Path) -> None:
    assert publish(files, "--classes", "ok,fraud", members="sigmoid") == 0
    ensemble = loaded(files)
    assert (ensemble.manifest.task, ensemble.manifest.members[0].kind) == ("classification", "probabilities")
    ensemble.close()


def test_strings_and_classes_from_a_file(files: Path) -> None:
    (files / "classes.txt").write_text("rot\ngrün\n青\n", encoding="utf-8")
    assert publish(files, "--classes", str(files / "classes.txt"), members="words") == 0
    ensemble = loaded(files)
    assert ensemble.manifest.classes == ("rot", "grün", "青")
    assert ensemble.manifest.inputs[0].datatype == "BYTES"
    ensemble.close()


def test_external_weights_travel_along(files: Path) -> None:
    assert publish(files, members="external soft") == 0
    ensemble = loaded(files)
    assert [file.file for file in ensemble.manifest.members[0].external] == ["weights.bin"]
    ensemble.close()


def test_golden_rows_may_be_given(files: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)
    np.savez(files / "rows.npz", x=rows)
    assert publish(files, "--golden", str(files / "rows.npz"), members="soft") == 0
    ensemble = loaded(files)
    assert ensemble.manifest.golden.rows == 7
    ensemble.close()


def test_batches_may_be_larger_than_usual(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(files, "--max-batch-rows", "512", members="soft") == 0
    batching = Repository(files / "models").open("own", 1).manifest.batching
    assert (batching.max_batch_rows, batching.max_queue_rows) == (512, 65536)
    for wrong in ("0", "65537"):
        assert publish(files, "--max-batch-rows", wrong, members="soft") == 2
        assert f"--max-batch-rows: {wrong} given, expected 1 to 65536" in capsys.readouterr().err
    assert Repository(files / "models").versions("own") == [1]


def test_publishing_again_makes_the_next_version(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(files, members="soft") == 0
    capsys.readouterr()
    assert publish(files, "--json", members="soft logits") == 0
    told = json.loads(capsys.readouterr().out)
    (note,) = told.pop("notes")
    assert note.startswith("guess: member 'logits' gives logits")
    assert told == {
        "name": "own",
        "version": 2,
        "task": "classification",
        "kinds": {"soft": "probabilities", "logits": "logits"},
        "classes": ["0", "1", "2"],
    }


@pytest.mark.parametrize(
    ("members", "words", "messages"),
    [
        ("soft wide", [], ["input 'x': member 'soft' takes FP32 [n, 4], member 'wide' takes FP32 [n, 5]"]),
        ("soft two", [], ["member 'two' gives 2 columns, there are 3 classes"]),
        ("soft nan", [], ["member 'nan': its output 'y' has NaN or infinite values on sample rows"]),
        ("soft garbage missing", [], ["member 'garbage': ", "member 'missing': ", "No such file"]),
        ("soft", ["--classes", "a,b"], ["member 'soft' gives 3 columns, there are 2 classes"]),
        ("soft", ["--classes", "a,b,a"], ["'a'"]),
        ("soft", ["--classes", "nowhere.txt"], ["'nowhere.txt' is no list A,B,C and no readable text file"]),
        ("soft logits", ["--weights", "1,2", "--fusion", "mean"], ["--weights: --fusion mean has no weights"]),
        ("soft logits", ["--weights", "1,2", "--fusion", "median"], ["--weights: --fusion median has no weights"]),
        ("soft", ["--weights", "1"], ["--weights: there is one member"]),
        ("soft logits", ["--fusion", "weighted"], ["--fusion weighted: without --weights"]),
        ("soft logits", ["--quorum", "0"], ["--quorum: 0 given, expected 1 to 2"]),
        (
            "soft logits",
            ["--kind", "soft=value", "--classes", "a,b,c"],
            ["--classes: --kind soft=value makes it a regression"],
        ),
        ("value", ["--task", "regression", "--classes", "a,b"], ["--classes: a regression has no classes"]),
        ("soft", ["--weights", "1,2"], ["--weights: 2 given, there are 1 members"]),
        ("soft", ["--weights", "-1"], ["expected numbers ≥ 0, not all 0"]),
        ("soft", ["--quorum", "2"], ["quorum"]),
        ("soft", ["--output", "soft=z"], ["member 'soft': has no output 'z'"]),
        ("soft", ["--output", "other=y"], ["--output: there is no member 'other'; there are soft"]),
        ("soft", ["--kind", "soft=votes"], ["--kind: 'votes' given for 'soft', expected one of"]),
        ("soft", ["--golden", "nowhere.npz"], ["golden rows 'nowhere.npz': cannot be read"]),
        ("soft soft", [], ["--member: 'soft' is given twice"]),
        ("soft value", ["--task", "regression"], ["member 'value'"]),
    ],
)
def test_what_does_not_fit_is_told_and_leaves_nothing(
    files: Path, capsys: pytest.CaptureFixture[str], members: str, words: list[str], messages: list[str]
) -> None:
    assert publish(files, *words, members=members) == 2
    told = capsys.readouterr().err
    assert told.startswith("tutti publish: ")
    for message in messages:
        assert message in told
    left = list((files / "models").rglob("*")) if (files / "models").exists() else []
    assert left == []


def test_golden_rows_that_do_not_fit_are_told(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(files / "rows.npz", x=np.zeros((7, 5), np.float32), y=np.zeros(3))
    assert publish(files, "--golden", str(files / "rows.npz"), members="soft") == 2
    assert "array 'x' is [7, 5], the input is [n, 4]" in capsys.readouterr().err


def test_a_taken_version_is_a_clear_error(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(files, members="soft") == 0
    assert publish(files, "--version", "1", members="soft") == 2
    assert "1" in capsys.readouterr().err
    assert Repository(files / "models").versions("own") == [1]


@pytest.mark.parametrize("scale", [1e-6, 1e5, 1e9])
def test_values_of_any_scale_are_published_and_held_to_that_scale(files: Path, scale: float) -> None:
    for name, column in (("one", 0), ("two", 1)):
        (files / f"{name}.onnx").write_bytes(graphs.linear(W[:, column : column + 1] * scale))
    assert publish(files, members="one two") == 0
    ensemble = loaded(files)
    golden = ensemble.manifest.golden
    assert scale * 1e-6 < golden.atol < scale * 1e-3
    ensemble.close()
