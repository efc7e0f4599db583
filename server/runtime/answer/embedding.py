"""Vectors of unit length, fused by their mean or one behind the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from model_repo import Concatenate, Manifest
from server.runtime.answer.alignment import Stack
from server.runtime.answer.fusion import Rule
from server.runtime.datatypes import Array, Floats, Mask
from server.runtime.prediction import MemberFailure, OutputSpec


class EmbeddingAlignment:
    """Member outputs [n, d] to one array [K, n, W] of unit vectors, zeros behind the shorter. Stateless; any thread."""

    def __init__(self, manifest: Manifest) -> None:
        self._names = tuple(member.name for member in manifest.members)
        self._columns = manifest.columns
        self._widths = tuple(member.width or manifest.columns for member in manifest.members)

    def stack(self, raw: Sequence[Array | None], rows: int) -> Stack:
        """The unit vectors of `rows` rows; `raw[k]` is None where member k has failed. A vector of zeros stays one."""
        P = np.zeros((len(raw), rows, self._columns))
        answered = np.ones((len(raw), rows), dtype=np.bool_)
        failures: list[MemberFailure] = []
        for k, (name, output, width) in enumerate(zip(self._names, raw, self._widths, strict=True)):
            if output is None or output.shape != (rows, width):
                answered[k] = False
                if output is not None:
                    detail = f"gave {list(output.shape)}, expected {[rows, width]}"
                    failures.append(MemberFailure(name, "shape", detail))
                continue
            P[k, :, :width] = output
            answered[k] = np.isfinite(P[k]).all(axis=1)
            if not answered[k].all():
                bad = np.flatnonzero(~answered[k])
                detail = f"{len(bad)} of {rows} rows NaN or infinite, the first is row {bad[0]}"
                failures.append(MemberFailure(name, "not_finite", detail))
        P[~answered] = 0.0
        P /= _lengths(P)
        if answered.all():
            return Stack(P, None, ())
        P[~answered] = np.nan
        return Stack(P, answered, tuple(failures))


def _lengths(P: Floats) -> Floats:
    """Of each vector [K, n, 1], 1 for zeros; scaled first, as squares of large numbers overflow."""
    most = np.abs(P).max(axis=2, keepdims=True)
    scale = np.where(most > 0.0, most, 1.0)
    lengths: Floats = scale * np.sqrt(np.square(P / scale).sum(axis=2, keepdims=True))
    return np.where(most > 0.0, lengths, 1.0)


class Concatenation:
    """The members' vectors one behind the other; NaN where one is missing. Stateless; any thread."""

    def __init__(self, manifest: Manifest) -> None:
        self._widths = tuple(member.width or manifest.columns for member in manifest.members)

    def __call__(self, P: Floats, mask: Mask | None = None) -> Floats:
        """float64 [n, Σd] from float64 [K, n, W] and bool [K, n]."""
        fused = np.concatenate([vector[:, :width] for vector, width in zip(P, self._widths, strict=True)], axis=1)
        if mask is not None:
            fused[~mask.all(axis=0)] = np.nan
        return fused


def embedding_rule(manifest: Manifest) -> Rule | Concatenation:
    """The rule bound to the manifest: a mean of unit vectors is not made one again, its length says how they agree."""
    if isinstance(manifest.fusion, Concatenate):
        return Concatenation(manifest)
    return Rule(manifest.fusion, [member.weight for member in manifest.members], "embedding")


def embedding_specs(manifest: Manifest) -> dict[str, OutputSpec]:
    """Every output offered: `embedding`, of a mean its `agreement`, and the members' unit vectors."""
    specs = {"embedding": OutputSpec("FP32", (-1, manifest.fused_columns))}
    if not isinstance(manifest.fusion, Concatenate):
        specs["agreement"] = OutputSpec("FP32", (-1,))
    return specs | {"members": OutputSpec("FP32", (-1, len(manifest.members), manifest.columns))}


class EmbeddingAnswers:
    """Makes the outputs of one ensemble. Stateless; any thread."""

    def make(self, asked: Collection[str], P: Floats, mask: Mask | None, fused: Floats) -> dict[str, Array]:
        """The outputs asked for, of `P` [K, n, W], `mask` [K, n] or None, `fused` [n, d]."""
        made: dict[str, Array] = {}
        for name in asked:
            if name == "embedding":
                made[name] = fused.astype(np.float32)
            elif name == "agreement":
                made[name] = np.sqrt(np.square(fused).sum(axis=1)).astype(np.float32)
            else:
                made[name] = np.ascontiguousarray(P.transpose(1, 0, 2), dtype=np.float32)
        return made
