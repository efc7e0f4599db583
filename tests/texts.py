"""Tiny text ensembles: real `tokenizers` files, and members that add up a row of a table for each token."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer as Codec
from tokenizers.models import WordLevel, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from model_repo import FORMAT, Golden, Input, Manifest, Mean, Member, Repository, TextInput, Tokenizer
from server.runtime.answer.tokenizers import Encoder, codec_of, encode_with
from server.runtime.datatypes import Array
from tests.repositories import Spec, golden_arrays

WORDS = ("[PAD]", "[UNK]", "good", "bad", "film", "好", "坏", "片")
CLASSES = ("negative", "positive")
TABLE = np.array([[0, 0], [0, 0], [0, 2], [2, 0], [0, 0.5], [0, 1], [1, 0], [0.25, 0]], np.float32)
"""What a token adds to the logits of each class; nothing for padding."""


def word_level(unk: str | None = "[UNK]", words: Sequence[str] = WORDS) -> bytes:
    """A tokenizer of whole words, Chinese characters among them; without `unk` it fails on others."""
    vocabulary = {word: place for place, word in enumerate(words)}
    codec = Codec(WordLevel(vocabulary, unk_token=unk) if unk else WordLevel(vocabulary))
    return _with_bert(codec)


def word_piece() -> bytes:
    """A WordPiece tokenizer with the vocabulary of `WORDS` and nothing smaller."""
    return _with_bert(Codec(WordPiece({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]")))


def bag(table: ArrayLike = TABLE, rank: int = 2, name: str = "tokens") -> bytes:
    """softmax of the sum of `table` [V, C] over the tokens of `name`, int64 of `rank` dimensions."""
    values = np.asarray(table, np.float32)
    axes = np.arange(1, rank, dtype=np.int64)
    nodes = [
        helper.make_node("Gather", ["table", name], ["rows"]),
        helper.make_node("ReduceSum", ["rows", "axes"], ["sum"], keepdims=0),
        helper.make_node("Softmax", ["sum"], ["p"], axis=1),
    ]
    ids = helper.make_tensor_value_info(name, TensorProto.INT64, ["n", *(f"d{axis}" for axis in axes)])
    output = helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", values.shape[1]])
    constants = [numpy_helper.from_array(values, "table"), numpy_helper.from_array(axes, "axes")]
    graph = helper.make_graph(nodes, "bag", [ids], [output], constants)
    model: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    ).SerializeToString()
    return model


def publish_texts(
    root: Path,
    members: Mapping[str, bytes],
    tokenizers: Mapping[str, tuple[bytes, Mapping[str, Any]]],
    texts: Sequence[str] = ("a good film", "bad", "好片", ""),
    **fields: Any,
) -> int:
    """Publish the next version of `texts`: members over tokenizers (name → JSON and the manifest's fields)."""
    with Repository(root).stage("texts") as staging:
        declared = []
        for name, (data, options) in tokenizers.items():
            file = staging.add(f"tokenizers/{name}.json", data)
            entry = Tokenizer(
                name=name, file=file.file, sha256=file.sha256, bytes=file.bytes, input="text", max_tokens=8
            )
            declared.append(msgspec.structs.replace(entry, **options))
        entries = []
        for name, data in members.items():
            file = staging.add(f"members/{name}.onnx", data)
            entries.append(
                Member(
                    name=name, file=file.file, sha256=file.sha256, bytes=file.bytes, output="p", kind="probabilities"
                )
            )
        manifest = Manifest(
            format=FORMAT, name="texts", version=staging.next_version, task="classification", classes=CLASSES,
            inputs=(Input(name="text", datatype="BYTES", shape=(-1,), text=TextInput()),), members=tuple(entries),
            tokenizers=tuple(declared), fusion=Mean(), quorum=1,
            golden=Golden(file="golden.npz", sha256="0" * 64, bytes=0, rows=len(texts)),
        )  # fmt: skip
        manifest = msgspec.structs.replace(manifest, **fields)
        arrays = _golden(manifest, members, {entry.name: tokenizers[entry.name][0] for entry in declared}, texts)
        golden = staging.add("golden.npz", arrays)
        manifest = msgspec.structs.replace(
            manifest, golden=msgspec.structs.replace(manifest.golden, sha256=golden.sha256, bytes=golden.bytes)
        )
        return staging.publish(manifest)


def encoded(declared: Tokenizer, data: bytes, texts: Sequence[str]) -> Array:
    """The ids that the server makes of the texts."""
    return Encoder(declared, encode_with(codec_of(data)))(texts)


def strings(texts: Sequence[str]) -> Array:
    """Object array [n] of str."""
    array = np.empty(len(texts), np.object_)
    array[:] = texts
    return array


def _golden(
    manifest: Manifest, members: Mapping[str, bytes], files: Mapping[str, bytes], texts: Sequence[str]
) -> bytes:
    feeds = {"text": strings(texts)}
    for declared in manifest.tokenizers:
        feeds[declared.name] = encoded(declared, files[declared.name], texts)
    arrays = golden_arrays(manifest, {name: Spec(data) for name, data in members.items()}, feeds)
    kept = {name: array for name, array in arrays.items() if name not in {f"input:{name}" for name in files}}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **kept)
    return buffer.getvalue()


def _with_bert(codec: Codec) -> bytes:
    codec.normalizer = BertNormalizer(lowercase=True)
    codec.pre_tokenizer = BertPreTokenizer()
    return codec.to_str().encode()
