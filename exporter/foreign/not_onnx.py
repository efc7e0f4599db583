"""What a file is that is no ONNX model, and the way from it to one."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

LFS = b"version https://git-lfs.github.com/spec/"
_CONVERT = "convert it with"


def hint(data: bytes) -> str | None:
    """What the bytes are where they are plainly something else than ONNX, with the way out; None where they are not.

    Only beginnings are looked at (and the list of a zip archive): nothing is unpacked, least of all a pickle.
    """
    return next((said for is_it, said in _KNOWN if is_it(data)), None)


def _begins(*magic: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(magic)


def _behind_four(magic: bytes) -> Callable[[bytes], bool]:
    return lambda data: data[4:8] == magic


def _holds(*ends: str) -> Callable[[bytes], bool]:
    """A zip archive with a file whose name ends so."""

    def is_it(data: bytes) -> bool:
        if not data.startswith(b"PK\x03\x04"):
            return False
        try:
            return any(name.endswith(ends) for name in zipfile.ZipFile(io.BytesIO(data)).namelist())
        except zipfile.BadZipFile:
            return False

    return is_it


def _is_json(data: bytes) -> bool:
    return data.lstrip()[:1] in (b"{", b"[")


def _is_html(data: bytes) -> bool:
    return data.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))


def _is_safetensors(data: bytes) -> bool:
    return len(data) > 9 and data[8:9] == b"{" and 2 <= int.from_bytes(data[:8], "little") <= 100_000_000


_KNOWN: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda data: not data, "is empty"),
    (
        _begins(LFS),
        "is a pointer of Git LFS, not the file itself: run `git lfs pull`",
    ),
    (_is_html, "is a web page, not the file itself: download it anew, logged in or from its raw address"),
    (
        _holds("data.pkl", "constants.pkl"),
        f"is a model saved by torch: {_CONVERT} torch.onnx.export, or give the module to Exporter.add",
    ),
    (_holds("config.json", "model.weights.h5"), f"is a Keras model: {_CONVERT} model.export('model.onnx', 'onnx')"),
    (_holds(".onnx"), "is an archive with an ONNX file inside: unpack it"),
    (
        _begins(b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf"),
        "is an archive: unpack it",
    ),
    (lambda data: data[257:262] == b"ustar", "is an archive: unpack it"),
    (_begins(b"GGUF"), "is GGUF, the weights of a language model: there is no ONNX graph in it"),
    (_begins(b"\x93NUMPY"), "is an array of numpy, not a model"),
    (_begins(b"ptrt", b"ftrt"), "is an engine of TensorRT, made for one GPU: give the ONNX file that it was made from"),
    (_begins(b"<?xml", b"<net"), "is XML, as OpenVINO has it: give the ONNX file that it was made from"),
    (
        _begins(b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        f"is a pickle (torch, scikit-learn, joblib): {_CONVERT} torch.onnx.export or skl2onnx.to_onnx, or give the "
        "object to Exporter.add",
    ),
    (_begins(b"\x89HDF"), f"is HDF5 (an old Keras model): {_CONVERT} tf2onnx"),
    (_behind_four(b"TFL3"), f"is a TensorFlow Lite model: {_CONVERT} tf2onnx --tflite"),
    (_behind_four(b"ORTM"), "is in onnxruntime's own ORT format: give the ONNX file that it was made from"),
    (_is_safetensors, "is safetensors, weights without a graph: export the model that they belong to"),
    (_begins(b"CBM1"), f"is CatBoost's own format: {_CONVERT} model.save_model('model.onnx', format='onnx')"),
    (_begins(b"tree\nversion="), f"is LightGBM's own format: {_CONVERT} onnxmltools.convert_lightgbm"),
    (_begins(b"binf", b"{L"), f"is XGBoost's own format: {_CONVERT} onnxmltools.convert_xgboost"),
    (
        _is_json,
        "is JSON, not ONNX; a model of XGBoost is converted with onnxmltools.convert_xgboost, classes go to --classes",
    ),
)
