"""Answers of other forms than one row of classes: by position, vectors, forecasts; and texts with their tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import graphs, texts
from tests.exporter.compatibility.table import Brought, Expected
from tests.exporter.foreign.test_forms import PIXELS, TOKENS, segmenter, softmax, tagger
from tests.exporter.foreign.test_texts import bert_like, expected

RNG = np.random.default_rng(31)
VECTORS = [RNG.normal(size=(3, width)).astype(np.float32) for width in (4, 4, 6)]
X: NDArray[Any] = RNG.normal(size=(5, 3)).astype(np.float32)


def segmentation(folder: Path) -> Expected:
    (folder / "a.onnx").write_bytes(segmenter(PIXELS[0]))
    (folder / "b.onnx").write_bytes(segmenter(PIXELS[1], soft=False))
    x = RNG.normal(size=(2, 2, 4, 3)).astype(np.float32)
    p = np.mean([softmax(np.einsum("nfhw,fc->nchw", x, kernel), 1) for kernel in PIXELS], axis=0)
    names = ("road", "tree", "sky")
    label = np.array(names, dtype=np.object_)[p.argmax(axis=1)]
    return Expected({"x": x}, {"probabilities": p, "label": label}, names)


def tokens(folder: Path) -> Expected:
    for name, weights in zip("ab", TOKENS, strict=True):
        (folder / f"{name}.onnx").write_bytes(tagger(weights))
    x = RNG.normal(size=(2, 6, 5)).astype(np.float32)
    p = np.mean([softmax(x @ weights, -1) for weights in TOKENS], axis=0)
    outputs = {"probabilities": p.transpose(0, 2, 1), "index": p.argmax(axis=-1).astype(np.int32)}
    return Expected({"x": x}, outputs, ("O", "PER", "LOC", "ORG"), told=("brought behind the rows",))


def units(*places: int) -> list[NDArray[Any]]:
    return [X @ VECTORS[k] / np.linalg.norm(X @ VECTORS[k], axis=1, keepdims=True) for k in places]


def vectors(folder: Path, *places: int) -> None:
    for name, place in zip("ab", places, strict=True):
        (folder / f"{name}.onnx").write_bytes(graphs.linear(VECTORS[place]))


def averaged(folder: Path) -> Expected:
    vectors(folder, 0, 1)
    return Expected({"x": X}, {"embedding": np.mean(units(0, 1), axis=0)})


def joined(folder: Path) -> Expected:
    vectors(folder, 0, 2)
    return Expected({"x": X}, {"embedding": np.concatenate(units(0, 2), axis=1)})


def forecast(folder: Path) -> Expected:
    vectors(folder, 0, 1)
    return Expected({"x": X}, {"value": (X @ VECTORS[0] + X @ VECTORS[1]) / 2})


def bert(folder: Path) -> Expected:
    (folder / "bert.onnx").write_bytes(bert_like())
    (folder / "tokenizer.json").write_bytes(texts.word_piece())
    rows = ["good film", "bad bad film film good", "bad"]
    feeds = {"text": np.array(rows, dtype=np.object_)}
    return Expected(feeds, {"probabilities": np.stack([expected(row) for row in rows])}, ("bad", "good"))


BROUGHT: dict[str, Brought] = {
    "a network for segmentation, `[n, C, H, W]`": segmentation,
    "classes of tokens as transformers give them, `[n, L, C]`": tokens,
    "embeddings `[n, d]` of one space": averaged,
    "embeddings of different models": joined,
    "a forecast of several steps, `[n, d]`": forecast,
    "BERT-like inputs (ids, mask, types) with their tokenizer": bert,
}
