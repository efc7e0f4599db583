"""Texts to token ids, by the version's own tokenizer files, before the members run.

The only module that imports `tokenizers`, and only where a version has one. Each distinct tokenizer encodes a batch
once, whoever takes its ids.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from model_repo import IntegrityError, Tokenizer, Version
from server.errors import LoadError
from server.runtime.datatypes import Feeds

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Codec

Result = TypeVar("Result")
Ids = NDArray[np.int64]
Encode = Callable[[Sequence[str]], list[list[int]]]
"""Texts → the ids of each, whole. Raises whatever the library raises."""


class TextError(Exception):
    """A text cannot be encoded; the message names the tokenizer and says why, without the text."""


class Tokenizing:
    """Every tokenizer of one version. Any thread; encoding holds no lock."""

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        self._encoders = tuple(encoders)

    @classmethod
    def open(cls, version: Version) -> Tokenizing:
        """The tokenizers that the manifest names, read and parsed. Raises LoadError 'integrity' or 'tokenizer'."""
        return cls([Encoder(entry, _parsed(version, entry)) for entry in version.manifest.tokenizers])

    def __call__(self, feeds: Feeds) -> Feeds:
        """`feeds` with each tokenizer's tensor added under its name. Raises TextError."""
        if not self._encoders:
            return feeds
        return {
            **feeds,
            **{encoder.name: encoder(feeds[encoder.source].ravel().tolist()) for encoder in self._encoders},
        }


class Encoder:
    """One tokenizer as the manifest declares it, bound to what encodes."""

    def __init__(self, declared: Tokenizer, encode: Encode) -> None:
        self.name = declared.name
        self.source = declared.input
        self._declared = declared
        self._encode = encode

    def __call__(self, texts: Sequence[str]) -> Ids:
        """INT64 [n, L] of n texts, with windows [n, W, L]; see `model_repo.Tokenizer`. Raises TextError."""
        declared = self._declared
        cut = [text[: declared.max_chars] for text in texts]
        try:
            rows = _called(lambda: self._encode(cut))
        except ValueError as error:
            raise TextError(f"tokenizer {self.name!r} cannot encode a text: {error}") from error
        if declared.stride is None or declared.max_windows is None:
            return padded(rows, declared.max_tokens, declared.pad_id)
        return windowed(rows, declared.max_tokens, declared.stride, declared.max_windows, declared.pad_id)


def padded(rows: Sequence[Sequence[int]], max_tokens: int, pad_id: int) -> Ids:
    """INT64 [n, L]: the rows cut to `max_tokens` and filled up to the longest of them, L ≥ 1."""
    longest = max(1, min(max_tokens, max(map(len, rows), default=0)))
    ids = np.full((len(rows), longest), pad_id, np.int64)
    for place, row in zip(ids, rows, strict=True):
        kept = row[:max_tokens]
        place[: len(kept)] = kept
    return ids


def windowed(rows: Sequence[Sequence[int]], max_tokens: int, stride: int, max_windows: int, pad_id: int) -> Ids:
    """INT64 [n, W, L]: window w holds the tokens from w × `stride` on, at most `max_tokens` of them.

    A row has as many windows as hold all its tokens, at least one and at most `max_windows`.
    """
    counts = [min(max_windows, window_count(len(row), max_tokens, stride)) for row in rows]
    longest = max(1, min(max_tokens, max(map(len, rows), default=0)))
    ids = np.full((len(rows), max(counts, default=1), longest), pad_id, np.int64)
    for place, row, count in zip(ids, rows, counts, strict=True):
        for w in range(count):
            kept = row[w * stride : w * stride + max_tokens]
            place[w, : len(kept)] = kept
    return ids


def window_count(tokens: int, max_tokens: int, stride: int) -> int:
    """The windows that hold all of so many tokens."""
    return 1 + max(0, -(-(tokens - max_tokens) // stride))


def codec_of(data: bytes) -> Codec:
    """The tokenizer of a `tokenizers` JSON, without its own truncation and padding. Raises ValueError.

    Refused too: one that drops pieces at random (BPE dropout), whose ids no golden row could prove.
    """
    # Read when the library first encodes: its own threads would break the budget of the process.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer as Codec

    codec = _called(lambda: Codec.from_buffer(data))
    codec.no_truncation()
    codec.no_padding()
    if getattr(codec.model, "dropout", None):
        raise ValueError(f"its model has dropout {codec.model.dropout:g}, which makes ids random")
    return codec


def encode_with(codec: Codec) -> Encode:
    """What encodes texts whole with the codec; the interpreter's lock is released meanwhile."""
    return lambda texts: [encoding.ids for encoding in codec.encode_batch_fast(list(texts))]


def _parsed(version: Version, declared: Tokenizer) -> Encode:
    try:
        data = version.read(declared.file)
    except IntegrityError as error:
        raise LoadError("integrity", f"tokenizer {declared.name!r}: {error}") from error
    try:
        return encode_with(codec_of(data))
    except ImportError as error:
        raise LoadError("tokenizer", f"tokenizer {declared.name!r} needs the tokenizers package: {error}") from error
    except ValueError as error:
        raise LoadError("tokenizer", f"tokenizer {declared.name!r} cannot be read: {error}") from error


def _called(call: Callable[[], Result]) -> Result:
    """What the library's `call` gives. Raises ValueError, in one line, for whatever it raises."""
    try:
        return call()
    except BaseException as error:
        # It raises Exception itself, TypeError for what is no UTF-8, and a panic in its Rust is not even an Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ValueError(" ".join(str(error).split())[:300]) from error
