"""A file that is no ONNX model is named for what it is, with the way to one."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests import graphs
from tests.exporter.foreign.samples import W, answers, publish, rows

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
        (b"BZh91AY&SY", "is an archive"),
        (b"model.onnx".ljust(257, b"\0") + b"ustar\0", "is an archive"),
        (b"GGUF\x03\x00\x00\x00", "is GGUF"),
        (b"\x93NUMPY\x01\x00", "is an array of numpy"),
        (b"ptrt\x00\x00", "is an engine of TensorRT"),
        (b'<?xml version="1.0"?><net name="a">', "is XML, as OpenVINO has it"),
        (graphs.linear(W)[:-5], "It is cut off, or no ONNX file"),
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


def test_an_operator_of_ones_own_is_refused_by_name_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = onnx.load_from_string(graphs.linear(W))
    graph.graph.node[0].op_type, graph.graph.node[0].domain = "Fancy", "com.acme"
    graph.opset_import.append(onnx.helper.make_opsetid("com.acme", 1))
    assert publish(tmp_path, {"a": graph.SerializeToString()}) == 2
    told = capsys.readouterr().err
    assert "com.acme:Fancy" in told
    assert "export the model with standard operators" in told


def test_a_newer_ir_version_than_onnxruntime_knows_is_written_as_its_newest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the package onnx writes models by itself: 14, where onnxruntime opens 13."""
    graph = onnx.load_from_string(graphs.linear(W))
    graph.ir_version = 99
    assert publish(tmp_path, {"a": graph.SerializeToString()}, "--task", "regression") == 0
    assert "note: member 'a': its IR version 99 is written as" in capsys.readouterr().out
    found = answers(tmp_path, rows(), "value")["value"]
    np.testing.assert_allclose(found, rows() @ W, atol=1e-5)
