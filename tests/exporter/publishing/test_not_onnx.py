"""A file that is no ONNX model is named for what it is, with the way to one."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest

from tests import graphs
from tests.exporter.publishing.foreign import W, publish

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n"


def archive(*names: str) -> bytes:
    """A zip file with empty files of these names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name in names:
            made.writestr(name, b"")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "is empty"),
        (POINTER, "is a pointer of Git LFS, not the file itself: run `git lfs pull`"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (archive("model/data.pkl", "model/version"), "is a model saved by torch"),
        (archive("config.json", "model.weights.h5"), "is a Keras model"),
        (archive("model.onnx"), "is an archive with an ONNX file inside"),
        (b"\x1f\x8b\x08\x00rest", "is an archive"),
        (pickle.dumps({"a": 1}), "is a pickle"),
        (pickle.dumps({"a": 1}, protocol=2), "is a pickle"),
        (b"\x89HDF\r\n\x1a\nrest", "is HDF5"),
        (b"\x1c\x00\x00\x00TFL3rest", "is a TensorFlow Lite model"),
        (b"\x18\x00\x00\x00ORTMrest", "ORT format"),
        ((2).to_bytes(8, "little") + b"{}", "is safetensors"),
        (b"CBM1rest", "is CatBoost's own format"),
        (b"tree\nversion=v4\n", "is LightGBM's own format"),
        (json.dumps({"learner": {}}).encode(), "is JSON, not ONNX"),
        (b"no model at all", "is no model that onnxruntime opens"),
    ],
)
def test_what_is_no_onnx_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, expected: str
) -> None:
    assert publish(tmp_path, {"a": data}) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert "member 'a': " in told
    assert expected in told


def test_a_pointer_in_the_place_of_weights_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, _ = graphs.with_external(graphs.softmax_linear(W), "weights.bin")
    (tmp_path / "weights.bin").write_bytes(POINTER)
    assert publish(tmp_path, {"a": model}) == 2
    assert "weights.bin' is a pointer of Git LFS" in capsys.readouterr().err
