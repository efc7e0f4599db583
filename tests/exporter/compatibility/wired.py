"""Inputs of other names, types, layouts and sizes than the other members', and batches that files fix."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.exporter.compatibility.table import Brought, Expected
from tests.exporter.foreign.samples import softmax
from tests.exporter.foreign.test_fixed_batches import one_by_one, rowwise
from tests.exporter.foreign.test_inputs import FLOAT, W, made, picture, rows, run, table, with_settings

NAMES = ("cat", "dog", "eel")
RNG = np.random.default_rng(17)


def torch_export(folder: Path, *, newer: bool, dynamic: bool) -> Expected:
    """A small convolutional network with batch normalisation, by one of torch's two exporters."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 49, 3)]
    net = nn.Sequential(*parts).eval()
    path = folder / "cnn.onnx"
    more: dict[str, Any] = {"external_data": False} if newer else {}
    if dynamic and newer:
        more["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
    elif dynamic:
        more["dynamic_axes"] = {"x": {0: "batch"}, "y": {0: "batch"}}
    example = torch.zeros(2 if dynamic else 1, 3, 16, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter's own deprecation
        torch.onnx.export(net, (example,), str(path), input_names=["x"], output_names=["y"], dynamo=newer, **more)
    x = RNG.normal(size=(5, 3, 16, 16)).astype(np.float32)
    with torch.no_grad():
        z = net(torch.from_numpy(x)).numpy()
    told = () if dynamic else ("its batch was fixed to 1 and is free now",)
    return Expected({"x": x}, {"probabilities": softmax(z)}, NAMES, told=told)


def slices(folder: Path) -> Expected:
    data = rowwise(3)
    (folder / "net.onnx").write_bytes(data)
    x = RNG.normal(size=(6, 8)).astype(np.float32)
    told = ("its batch is fixed to 3 and stays so: a server runs it in slices of 3 rows",)
    return Expected({"x": x}, {"probabilities": softmax(one_by_one(data, x, 3))}, NAMES, told=told)


def tables(folder: Path, kind: int, atol: float) -> Expected:
    (folder / "a.onnx").write_bytes(table("x", kind))
    (folder / "b.onnx").write_bytes(table("x", FLOAT, 2))
    p = (softmax(rows() @ W) + softmax(rows() @ W * 2)) / 2
    return Expected({"x": rows()}, {"probabilities": p}, NAMES, atol, told=("each cast to its own",))


def names(folder: Path) -> Expected:
    for member, name in (("keras", "keras_tensor"), ("gbm", "input"), ("sk", "X")):
        (folder / f"{member}.onnx").write_bytes(table(name))
    told = ("its only input 'input' takes 'keras_tensor'",)
    return Expected({"keras_tensor": rows()}, {"probabilities": softmax(rows() @ W)}, NAMES, told=told)


def odd_name(folder: Path) -> Expected:
    (folder / "net.onnx").write_bytes(table("input_1:0"))
    told = ("input 'input_1:0' is served as 'input_1_0'",)
    return Expected({"input_1_0": rows()}, {"probabilities": softmax(rows() @ W)}, NAMES, told=told)


def bytes_and_floats(folder: Path) -> Expected:
    one, two = picture(8, channels_last=True, kind=TensorProto.UINT8), picture(8)
    (folder / "tf.onnx").write_bytes(one)
    (folder / "torch.onnx").write_bytes(two)
    x = RNG.integers(0, 256, (3, 8, 8, 3), np.uint8)
    floats = (x.astype(np.float32) / 255).transpose(0, 3, 1, 2)
    p = (softmax(run(one, {"image": x})) + softmax(run(two, {"image": np.ascontiguousarray(floats)}))) / 2
    told = ("dimensions moved [0, 3, 1, 2], times 0.00392157",)
    return Expected({"image": x}, {"probabilities": p}, NAMES, 1e-4, told=told)


def two_sizes(folder: Path) -> Expected:
    small, large = picture(8), picture(12)
    (folder / "small.onnx").write_bytes(small)
    (folder / "large.onnx").write_bytes(large)
    flat = RNG.random((3, 3, 1, 1), np.float32)
    given = {size: np.ascontiguousarray(np.broadcast_to(flat, (3, 3, size, size))) for size in (8, 12)}
    p = (softmax(run(small, {"image": given[8]})) + softmax(run(large, {"image": given[12]}))) / 2
    told = ("resized to 12x12 (linear), as --adapt says",)
    return Expected({"image": given[8]}, {"probabilities": p}, NAMES, 1e-4, told=told)


def bert(folder: Path) -> Expected:
    """A mean of embeddings over the mask, and a second table for the types: INT64 [n, L] three times."""
    words, types = (RNG.normal(size=(size, 6)).astype(np.float32) for size in (30, 2))
    head = RNG.normal(size=(6, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["w"]),
        helper.make_node("Gather", ["types", "token_type_ids"], ["t"]),
        helper.make_node("Add", ["w", "t"], ["e"]),
        helper.make_node("Cast", ["attention_mask"], ["m"], to=FLOAT),
        helper.make_node("Unsqueeze", ["m", "last"], ["mm"]),
        helper.make_node("Mul", ["e", "mm"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["s"], keepdims=0),
        helper.make_node("MatMul", ["s", "head"], ["y"]),
    ]
    tensors = ("input_ids", "attention_mask", "token_type_ids")
    constants = {"words": words, "types": types, "head": head, "last": np.array([2]), "middle": np.array([1])}
    (folder / "bert.onnx").write_bytes(
        made(nodes, {name: (TensorProto.INT64, ["n", "L"]) for name in tensors}, constants)
    )
    ids, mask, kinds = (RNG.integers(0, most, (4, 9)) for most in (30, 2, 2))
    pooled = ((words[ids] + types[kinds]) * mask[..., None]).sum(axis=1)
    feeds = dict(zip(tensors, (ids, mask, kinds), strict=True))
    return Expected(feeds, {"probabilities": softmax(pooled @ head)}, NAMES, 1e-4)


def settings(folder: Path) -> Expected:
    (folder / "vad.onnx").write_bytes(with_settings())
    p: NDArray[Any] = softmax((rows() + 1.0) * 2 @ W)
    return Expected({"x": rows()}, {"probabilities": p}, NAMES, told=("its input 'sr' is the constant 2000",))


BROUGHT: dict[str, Brought] = {
    "torch's older exporter, no dynamic axes": functools.partial(torch_export, newer=False, dynamic=False),
    "torch's newer exporter, no dynamic shapes": functools.partial(torch_export, newer=True, dynamic=False),
    "torch's older exporter, a dynamic batch": functools.partial(torch_export, newer=False, dynamic=True),
    "torch's newer exporter, a dynamic batch": functools.partial(torch_export, newer=True, dynamic=True),
    "a graph made for 3 rows and no others": slices,
    "FP16 beside FP32": functools.partial(tables, kind=TensorProto.FLOAT16, atol=5e-3),
    "FP64 beside FP32": functools.partial(tables, kind=TensorProto.DOUBLE, atol=1e-5),
    "Keras, LightGBM and scikit-learn, one table by three names": names,
    "an input whose name is no legal one": odd_name,
    "UINT8 `[n, H, W, 3]` beside FP32 `[n, 3, H, W]`": bytes_and_floats,
    "networks of two picture sizes": two_sizes,
    "BERT-like inputs, three times INT64 `[n, L]`": bert,
    "a voice detector with a rate and a state": settings,
}
