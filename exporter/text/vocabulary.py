"""Tokenizers trained on the texts of a recipe: the JSON that goes into the version, and what it makes of texts."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from exporter.data.dataset import Array, TokenizerFile
from exporter.errors import DataError
from model_repo import Input, Tokenizer
from server.runtime.answer.tokenizers import Encoder, codec_of, encode_with

PAD, UNKNOWN = "[PAD]", "[UNK]"
"""Ids 0 and 1. Nobody can write them: as a text they are brackets and a word."""

_ALPHABET = 8000
"""Characters that may have an id of their own; Chinese newspapers get by with about 4,000."""

_INSIDE = re.compile(r"(?<=\S)\S")


class Windows(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a document is cut into stretches that overlap; see docs/FORMAT.md."""

    stride: Annotated[int, Meta(ge=1)]
    most: Annotated[int, Meta(ge=1, le=4096)]


class TokenizerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How texts are cut into pieces; the pieces are learned from the fit rows.

    Words end at spaces and punctuation, and every Chinese character is a word.
    """

    model: Literal["wordpiece", "bpe", "word"] = "wordpiece"
    vocabulary: Annotated[int, Meta(ge=16, le=250_000)] = 8000
    """Pieces at most, padding and unknown among them."""
    max_tokens: Annotated[int, Meta(ge=4, le=65536)] = 128
    windows: Windows | None = None
    lowercase: bool = True
    least: Annotated[int, Meta(ge=1)] = 2
    """How often a piece must occur."""


def trained(name: str, source: str, spec: TokenizerSpec, texts: Sequence[str]) -> TokenizerFile:
    """The tokenizer `name` of the input `source`, learned from `texts`: the same texts give the same bytes."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # as the server encodes
    data = _learned(spec, texts)
    entry = Tokenizer(
        name=name,
        file=f"tokenizers/{name}.json",
        sha256=sha256(data).hexdigest(),
        bytes=len(data),
        input=source,
        max_tokens=spec.max_tokens,
        stride=None if spec.windows is None else spec.windows.stride,
        max_windows=None if spec.windows is None else spec.windows.most,
    )
    if spec.windows is not None and spec.windows.stride > spec.max_tokens:
        raise DataError(
            f"tokenizer {name!r}: windows.stride is {spec.windows.stride}, more than max_tokens, {spec.max_tokens}"
        )
    return TokenizerFile(entry, data)


def encoder_of(file: TokenizerFile) -> Encoder:
    """What the server will encode texts with."""
    assert isinstance(file.entry, Tokenizer), "a tokenizer's entry is the manifest's; this is a bug"
    return Encoder(file.entry, encode_with(codec_of(file.data)))


def tensor_of(file: TokenizerFile) -> Input:
    """The tensor that it makes, as members take it."""
    assert isinstance(file.entry, Tokenizer), "a tokenizer's entry is the manifest's; this is a bug"
    shape = (-1, -1) if file.entry.stride is None else (-1, -1, -1)
    return Input(name=file.entry.name, datatype="INT64", shape=shape)


def context_of(file: TokenizerFile) -> dict[str, Array]:
    """What networks must know of it: `NAME.vocabulary`, `NAME.max_tokens` and `NAME.overlap` (of windows, else 0)."""
    assert isinstance(file.entry, Tokenizer), "a tokenizer's entry is the manifest's; this is a bug"
    entry, size = file.entry, codec_of(file.data).get_vocab_size()
    overlap = 0 if entry.stride is None else entry.max_tokens - entry.stride
    facts = {"vocabulary": size, "max_tokens": entry.max_tokens, "overlap": overlap}
    return {f"{entry.name}.{fact}": np.array(value, dtype=np.int64) for fact, value in facts.items()}


def _learned(spec: TokenizerSpec, texts: Sequence[str]) -> bytes:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    model, trainer = {
        "wordpiece": (models.WordPiece, trainers.WordPieceTrainer),
        "bpe": (models.BPE, trainers.BpeTrainer),
        "word": (models.WordLevel, trainers.WordLevelTrainer),
    }[spec.model]
    codec = Tokenizer(model(unk_token=UNKNOWN))
    breaks = normalizers.Replace(Regex(r"<br\s*/?>"), " ")  # what the web leaves in reviews
    codec.normalizer = normalizers.Sequence([breaks, normalizers.BertNormalizer(lowercase=spec.lowercase)])
    codec.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [PAD, UNKNOWN]
    if spec.model == "wordpiece":
        special += _inner(codec.normalizer.normalize_str("\n".join(texts)), spec.vocabulary)
    limits: dict[str, Any] = {"vocab_size": spec.vocabulary, "min_frequency": spec.least, "show_progress": False}
    if spec.model != "word":
        limits["limit_alphabet"] = min(_ALPHABET, spec.vocabulary - len(special))
    codec.train_from_iterator(texts, trainer(special_tokens=special, **limits))
    described = json.loads(codec.to_str())
    described["added_tokens"] = []  # else "[PAD]" in somebody's text would be padding
    return json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()


def _inner(text: str, vocabulary: int) -> list[str]:
    """The pieces of one character inside a word, sorted: the library would number them in another order each time,
    and break ties between longer pieces by those numbers. The most frequent ones, in at most a quarter of the
    vocabulary."""
    counts = Counter(_INSIDE.findall(text)).most_common()
    kept = sorted(counts, key=lambda entry: (-entry[1], entry[0]))[: vocabulary // 4]
    return [f"##{character}" for character, _ in sorted(kept)]
