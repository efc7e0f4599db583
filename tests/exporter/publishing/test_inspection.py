"""`tutti inspect` says what files are, what publish would make of them and what does not fit; it publishes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from onnx import helper

from exporter.cli.inspect import main
from exporter.cli.publish import main as publish
from tests import graphs
from tests.exporter.foreign.samples import W, floats, linear_classifier, scored
from tutti import COMMANDS


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Models that do and do not fit each other, and a file that is none."""
    model, weights = graphs.with_external(graphs.softmax_linear(W), "weights.bin")
    made = {
        "forest.onnx": linear_classifier(["ok", "fraud", "odd"], zipmap="map"),
        "linear.onnx": linear_classifier(["odd", "fraud", "ok"]),
        "other.onnx": linear_classifier(["cat", "dog", "eel"]),
        "tags.onnx": scored(W, [helper.make_node("Sigmoid", ["z"], ["y"])], [floats("y", 3)]),
        "my net (2).onnx": model,
        "weights.bin": weights,
        "nothing.onnx": b"no model",
    }
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_a_file_is_told_with_all_that_publish_needs(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(files / "forest.onnx")]) == 0
    told = capsys.readouterr().out
    size = (files / "forest.onnx").stat().st_size
    for line in (
        "ai.onnx 17, ai.onnx.ml 3",
        "takes     'x' FP32 [n, 4]",
        "gives     'label' BYTES [n]",
        "gives     'probabilities' FP32 [n, 3]",
        "labels    'ok', 'fraud', 'odd' (ZipMap)",
        "publish   classification, classes ok, fraud, odd",
        "member    forest: 'probabilities' as probabilities; saw values",
        f"publish it:  tutti publish NAME --member forest={files / 'forest.onnx'}",
    ):
        assert line in told
    assert abs(size - int(told.split("  ")[1].split(" ")[0])) < 100  # without its ZipMap
    assert sorted(path.name for path in files.iterdir() if path.is_dir()) == []


def test_files_that_fit_make_one_ensemble_and_the_line_works(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    assert main(["forest.onnx", "linear.onnx", "my net (2).onnx"]) == 0
    told = capsys.readouterr().out
    assert "together\n  publish   classification, classes ok, fraud, odd" in told
    assert "guess     member 'my-net-2' states no classes" in told
    line = told.rstrip().splitlines()[-1].removeprefix("publish it:  ")
    assert line == (
        "tutti publish NAME --member forest=forest.onnx --member linear=linear.onnx --member my-net-2='my net (2).onnx'"
    )
    words = [word.replace("'my net (2).onnx'", "my net (2).onnx") for word in line.split(" ", 2)[2].split(" --")]
    flags = [part for word in words[1:] for part in ("--member", word.removeprefix("member "))]
    assert publish(["own", *flags, "--repository", str(files / "models")]) == 0


def test_what_does_not_fit_is_a_problem_and_the_exit_status(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("forest.onnx", "other.onnx", "tags.onnx", "nothing.onnx")
    assert main([str(files / name) for name in names]) == 1
    told = capsys.readouterr().out
    assert "no model  " in told
    assert "--task multilabel" in told
    assert "problem   member 'other' names its classes 'cat', 'dog', 'eel'" in told
    assert "publish it" not in told


def test_json_says_the_same(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*(str(files / name) for name in ("forest.onnx", "nothing.onnx")), "--json"]) == 1
    forest, nothing = json.loads(capsys.readouterr().out)["files"]
    assert forest["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert forest["outputs"][1] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}
    assert forest["labels"] == {"label": ["ok", "fraud", "odd"], "probabilities": ["ok", "fraud", "odd"]}
    assert forest["opsets"] == {"ai.onnx": 17, "ai.onnx.ml": 3}
    assert (forest["task"], forest["classes"]) == ("classification", ["ok", "fraud", "odd"])
    assert forest["members"] == {"forest": {"output": "probabilities", "kind": "probabilities"}}
    assert (forest["problems"], list(nothing)) == ([], ["file", "problems"])


def test_two_files_of_one_name_are_two_members(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "b").mkdir()
    (files / "b" / "forest.onnx").write_bytes((files / "forest.onnx").read_bytes())
    assert main([str(files / "forest.onnx"), str(files / "b" / "forest.onnx")]) == 0
    assert f"--member forest-2={files / 'b' / 'forest.onnx'}" in capsys.readouterr().out


def test_the_command_is_registered() -> None:
    assert COMMANDS["inspect"][0] == "exporter.cli.inspect"
