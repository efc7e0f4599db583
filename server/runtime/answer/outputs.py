"""What an ensemble answers beside the fused array: computed only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model_repo import Manifest, Mean, Vote
from model_repo.format.manifest import Task
from server.runtime.answer.fusion import ACTUALLY_TIED, Rule, row_shares, shares, winners
from server.runtime.answer.multilabel import binary_entropy, held, thresholds
from server.runtime.datatypes import Array, Floats, Mask
from server.runtime.prediction import OutputSpec

DEFAULT_OUTPUTS: Mapping[Task, tuple[str, ...]] = {
    "classification": ("probabilities", "label"),
    "multilabel": ("probabilities", "labels"),
    "dense": ("probabilities", "label"),
    "regression": ("value",),
    "ranking": ("scores", "ranking"),
    "embedding": ("embedding",),
}
FUSED_OUTPUT: Mapping[Task, str] = {
    "classification": "probabilities",
    "multilabel": "probabilities",
    "dense": "probabilities",
    "regression": "value",
    "ranking": "scores",
    "embedding": "embedding",
}


def plain_specs(manifest: Manifest) -> dict[str, OutputSpec]:
    """Every output that an ensemble with one answer a row offers, in order."""
    C, K = manifest.columns, len(manifest.members)
    members = {"members": OutputSpec("FP32", (-1, K, C))}
    if manifest.task == "regression":
        value = OutputSpec("FP32", (-1, *manifest.value_shape))
        shaped = {"members": OutputSpec("FP32", (-1, K, *(manifest.value_shape or (1,))))}
        return {"value": value, "std": value} | shaped
    if manifest.task == "multilabel":
        each = OutputSpec("FP32", (-1, C))
        labels = {"labels": OutputSpec("BOOL", (-1, C)), "agreement": each, "entropy": each}
        return {"probabilities": each} | labels | members
    if manifest.task == "ranking":
        return {"scores": OutputSpec("FP32", (-1, C)), "ranking": OutputSpec("BYTES", (-1, C))} | members
    specs = {"probabilities": OutputSpec("FP32", (-1, C)), "label": OutputSpec("BYTES", (-1,))}
    for name in ("confidence", "agreement", "entropy", "mutual_information"):
        specs[name] = OutputSpec("FP32", (-1,))
    if manifest.conformal is not None:
        specs["conformal_set"] = OutputSpec("BOOL", (-1, C))
    return specs | members


class Answers:
    """Makes the outputs of one ensemble, bound to its manifest. Stateless; any thread."""

    def __init__(self, manifest: Manifest, names: Collection[str] | None = None) -> None:
        """`names` are the outputs to be made; None: all that the manifest's task offers."""
        self._basis = _Basis(
            manifest,
            np.array(manifest.classes, dtype=np.object_),
            shares(manifest.fusion, [member.weight for member in manifest.members]),
            thresholds(manifest),
        )
        makers = _MAKERS | _OF_TASK.get(manifest.task, {})
        self._makers = {name: makers[name] for name in names or plain_specs(manifest)}

    def make(self, asked: Collection[str], P: Floats, mask: Mask | None, fused: Floats) -> dict[str, Array]:
        """The outputs asked for, of `P` float64 [K, n, C], `mask` bool [K, n] or None, `fused` float64 [n, C].

        Raises KeyError for a name that the ensemble does not offer: callers check names.
        """
        batch = _Batch(self._basis, P, mask, fused)
        makers = self._makers
        return {name: makers[name](batch) for name in asked}


@dataclass(frozen=True, slots=True)
class _Basis:
    """What every batch shares: class names as an object array [C], the rule's weights float64 [K]."""

    manifest: Manifest
    classes: NDArray[np.object_]
    share: Floats
    thresholds: Floats
    """Of each label; without meaning where the task is no multilabel."""


class _Batch:
    """One batch, with what several outputs need computed once."""

    def __init__(self, basis: _Basis, P: Floats, mask: Mask | None, fused: Floats) -> None:
        self.basis = basis
        self.P = P
        self.mask = mask
        self.fused = fused

    @cached_property
    def winners(self) -> NDArray[np.intp]:
        """The class of each row, [n]."""
        return winners(self.basis.manifest.fusion, self.fused, self.P, self.mask)

    @cached_property
    def shares(self) -> Floats:
        """Weights over those that answered, float64 [K, n], sum 1 per row."""
        if self.mask is None:
            return np.broadcast_to(self.basis.share[:, None], self.P.shape[:2])
        return row_shares(self.basis.share, self.mask)

    @cached_property
    def filled(self) -> Floats:
        """P with zeros where a member is masked: its weight there is zero."""
        return self.P if self.mask is None else np.where(self.mask[:, :, None], self.P, 0.0)

    @property
    def thresholds(self) -> Floats:
        """Of each label, [C]."""
        return self.basis.thresholds

    def valued(self, columns: Array) -> Array:
        """[n, C] in the shape of the rows' values."""
        return columns.reshape(len(columns), *self.basis.manifest.value_shape)

    def told(self, values: Floats) -> NDArray[np.float32]:
        """float32 with NaN in the rows that nobody answered."""
        told = values.astype(np.float32)
        if self.mask is not None:
            told[~self.mask.any(axis=0)] = np.nan
        return told


def entropy(P: Floats) -> Floats:
    """−Σ p log p over the last axis, in nats; 0 log 0 is 0."""
    logs = np.log(np.where(P > 0.0, P, 1.0))
    nats: Floats = -(P * logs).sum(axis=-1)
    return nats


def _fused(batch: _Batch) -> Array:
    return batch.fused.astype(np.float32)


def _label(batch: _Batch) -> Array:
    return batch.basis.classes[batch.winners]


def _index(batch: _Batch) -> Array:
    return batch.winners.astype(np.int32)


def _confidence(batch: _Batch) -> Array:
    return np.take_along_axis(batch.fused, batch.winners[:, None], axis=1)[:, 0].astype(np.float32)


def _agreement(batch: _Batch) -> Array:
    """The weight of the members whose own class is the label, of the weight of all that answered."""
    agree = batch.filled.argmax(axis=2) == batch.winners
    return batch.told((batch.shares * agree).sum(axis=0))


def _entropy(batch: _Batch) -> Array:
    return batch.told(entropy(batch.fused))


def _mutual_information(batch: _Batch) -> Array:
    """Entropy of the members' weighted mean less their weighted mean entropy: what they disagree about."""
    mean = np.einsum("kn,knc->nc", batch.shares, batch.filled)
    own = (batch.shares * entropy(batch.filled)).sum(axis=0)
    return batch.told(np.maximum(entropy(mean) - own, 0.0))


def _conformal_set(batch: _Batch) -> Array:
    """bool [n, C]: classes with 1 − p ≤ the quantile, and always the label."""
    conformal = batch.basis.manifest.conformal
    assert conformal is not None, "conformal_set is offered only with a quantile"
    within: Array = 1.0 - batch.fused <= conformal.quantile
    np.put_along_axis(within, batch.winners[:, None], True, axis=1)
    return within


def _members(batch: _Batch) -> Array:
    members: Array = batch.P.transpose(1, 0, 2).astype(np.float32, order="C")
    return members


def _labels(batch: _Batch) -> Array:
    """bool [n, C]: labels whose probability reaches the threshold; of votes, a majority, or half and the mean."""
    verdict = held(batch.fused, batch.thresholds)
    if not isinstance(batch.basis.manifest.fusion, Vote):
        return verdict
    tied = np.abs(batch.fused - 0.5) <= ACTUALLY_TIED
    if not tied.any():
        return batch.fused > 0.5
    mean = Rule(Mean(), np.ones(len(batch.P)), "multilabel")(batch.P, batch.mask)
    return np.where(tied, held(mean, batch.thresholds), batch.fused > 0.5)


def _label_agreement(batch: _Batch) -> Array:
    """Label by label: the weight of the members whose own verdict is the answer's, of all that answered."""
    agree = held(batch.filled, batch.thresholds) == _labels(batch)
    return batch.told((batch.shares[:, :, None] * agree).sum(axis=0))


def _label_entropy(batch: _Batch) -> Array:
    return batch.told(binary_entropy(batch.fused))


def _value(batch: _Batch) -> Array:
    return batch.valued(batch.fused.astype(np.float32))


def _std(batch: _Batch) -> Array:
    """Standard deviation of the members that answered (their spread, not an error bar): Σ(y − mean)² / K."""
    if batch.mask is None:
        spread: Array = batch.P.std(axis=0).astype(np.float32)
        return batch.valued(spread)
    W = row_shares(np.ones(len(batch.P)), batch.mask)[:, :, None]
    y = batch.filled
    return batch.valued(batch.told(np.sqrt((W * (y - (W * y).sum(axis=0)) ** 2).sum(axis=0))))


def _value_members(batch: _Batch) -> Array:
    members = _members(batch)
    return members.reshape(*members.shape[:2], *(batch.basis.manifest.value_shape or (1,)))


def _ranking(batch: _Batch) -> Array:
    """Names, best first, [n, C]; equal scores keep the candidates' order."""
    return batch.basis.classes[np.argsort(-batch.fused, axis=1, kind="stable")]


_MAKERS: dict[str, Callable[[_Batch], Array]] = {
    "probabilities": _fused,
    "label": _label,
    "index": _index,
    "confidence": _confidence,
    "agreement": _agreement,
    "entropy": _entropy,
    "mutual_information": _mutual_information,
    "conformal_set": _conformal_set,
    "members": _members,
    "value": _value,
    "std": _std,
    "scores": _fused,
    "ranking": _ranking,
}

_OF_TASK: dict[Task, dict[str, Callable[[_Batch], Array]]] = {
    "multilabel": {"labels": _labels, "agreement": _label_agreement, "entropy": _label_entropy},
    "regression": {"members": _value_members},
}
"""What a task makes in its own way."""
