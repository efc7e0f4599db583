"""By task, the three steps from members' outputs to an answer: alignment, rule, outputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_repo import Manifest, Stacked
from server.runtime.answer.alignment import Alignment, Stack
from server.runtime.answer.dense import DenseAlignment, DenseAnswers, DenseRule, dense_specs
from server.runtime.answer.embedding import EmbeddingAlignment, EmbeddingAnswers, embedding_rule, embedding_specs
from server.runtime.answer.fusion import Rule, Stacker, fuse
from server.runtime.answer.multilabel import thresholds
from server.runtime.answer.outputs import Answers, plain_specs
from server.runtime.datatypes import Array, Floats, Mask
from server.runtime.prediction import OutputSpec


class Aligning(Protocol):
    """Raw outputs to one array of the task's own form, [K, n, …, C]."""

    def stack(self, raw: Sequence[Array | None], rows: int) -> Stack:
        """The aligned outputs of `rows` rows; `raw[k]` is None where member k has failed already."""


class Answering(Protocol):
    """Outputs by name."""

    def make(self, asked: Collection[str], P: Floats, mask: Mask | None, fused: Floats) -> dict[str, Array]:
        """The outputs asked for; KeyError for a name that is not offered."""


def alignment_of(manifest: Manifest) -> Aligning:
    """The alignment of the manifest's task."""
    if manifest.task == "dense":
        return DenseAlignment(manifest)
    return EmbeddingAlignment(manifest) if manifest.task == "embedding" else Alignment(manifest)


def rule_of(manifest: Manifest) -> Callable[[Floats, Mask | None], Floats]:
    """The fixed rule of the manifest, bound to its weights."""
    if manifest.task == "embedding":
        return embedding_rule(manifest)
    weights = [member.weight for member in manifest.members]
    if manifest.task == "dense":
        return DenseRule(Rule(manifest.fusion, weights))
    return Rule(manifest.fusion, weights, manifest.task, thresholds(manifest))


def answers_of(manifest: Manifest) -> Answering:
    """What makes the outputs of the manifest's task."""
    if manifest.task == "dense":
        return DenseAnswers(manifest)
    return EmbeddingAnswers() if manifest.task == "embedding" else Answers(manifest)


def output_specs(manifest: Manifest) -> dict[str, OutputSpec]:
    """Every output that the ensemble offers, in order."""
    if manifest.task == "dense":
        return dense_specs(manifest)
    return embedding_specs(manifest) if manifest.task == "embedding" else plain_specs(manifest)


def fuse_for(
    manifest: Manifest, P: NDArray[np.floating], mask: Mask | None = None, stacker: Stacker | None = None
) -> Floats:
    """The fused answer of aligned outputs, as the manifest says; `stacker` is what a learned rule needs."""
    aligned = np.asarray(P, dtype=np.float64)
    if isinstance(manifest.fusion, Stacked):
        return fuse(manifest.fusion, aligned, [member.weight for member in manifest.members], mask, stacker)
    return rule_of(manifest)(aligned, mask)


def outputs(
    manifest: Manifest,
    asked: Collection[str],
    P: NDArray[np.floating],
    fused: NDArray[np.floating],
    mask: Mask | None = None,
) -> dict[str, Array]:
    """The named outputs of calibrated member outputs `P` [K, n, C] and their fused answer [n, C].

    Floats are float32, strings object arrays of `str`; a row that nobody answered is NaN.
    """
    return answers_of(manifest).make(asked, np.asarray(P, dtype=np.float64), mask, np.asarray(fused, dtype=np.float64))
