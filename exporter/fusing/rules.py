"""Every fusion rule, fitted: calibrated members → weights or a learned graph → the fused answer's own temperature."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array
from exporter.fusing.labels import calibrated_labels, label_temperature, odds_pool_weights, true_shares
from exporter.fusing.stacking import FusionGraph, fit_stacker
from exporter.fusing.temperature import fit_temperature
from exporter.fusing.weights import (
    LOG_LOSS,
    POOL_FLOOR,
    exponentiated_gradient,
    greedy_selection,
    mixture_weights,
    pool_weights,
    value_weights,
)
from exporter.recipe.rule_names import RuleName
from exporter.scoring.objective import Objective
from model_repo import Fallback, Fusion, Geometric, Mean, Median, Stacked, Vote, Weighted
from model_repo.format.manifest import Kind, Task
from server.runtime.answer.calibration import calibrate
from server.runtime.answer.fusion import fuse

FUSION_FILE = "fusion.onnx"

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class FittedRule:
    """A rule with all that was fitted. `weights` float64 [K] go into the members' entries of the manifest."""

    name: str
    fusion: Fusion
    weights: Floats
    stacker: FusionGraph | None = None
    task: Task = "classification"
    """Labels are fused one by one, and so are the numbers of values."""

    def __call__(self, P: Floats) -> Floats:
        """The fused answer float64 [n, C] of calibrated answers [K, n, C], as the server computes it."""
        return fuse(self.fusion, P, self.weights, None, self.stacker, self.task)


def fit_temperatures(raw: Sequence[NDArray[np.floating]], kinds: Sequence[Kind], y: Array) -> list[float]:
    """Each member's temperature; 1 for values."""
    fit = label_temperature if y.ndim == 2 and "value" not in kinds else fit_temperature
    return [fit(output, kind, y) for output, kind in zip(raw, kinds, strict=True)]


def calibrated_stack(
    raw: Sequence[NDArray[np.floating]], kinds: Sequence[Kind], temperatures: Sequence[float], labels: bool = False
) -> Floats:
    """Calibrated probabilities, or values, of all members as they are served, float64 [K, n, C]."""
    step = calibrated_labels if labels else calibrate
    return np.stack([step(*member) for member in zip(raw, kinds, temperatures, strict=True)])


def fit_rule(
    name: RuleName, P: Floats, y: Array, costs: Sequence[float], objective: Objective = LOG_LOSS
) -> FittedRule:
    """The rule fitted to calibrated answers of rows that no member was trained on; `costs` [K] break ties."""
    equal = np.full(len(P), 1 / len(P))
    if objective.labels:
        return _labelled(name, P, y, costs, objective)
    match name:
        case "mean":
            return _tempered(name, Mean(), equal, P, y, objective)
        case "median":
            return _tempered(name, Median(), equal, P, y, objective)
        case "vote":
            return _tempered(name, Vote(), equal, P, y, objective)
        case "weighted":
            classifies = objective.classifies
            weights = exponentiated_gradient(P, y) if classifies else value_weights(P, y, objective.metric)
            return _tempered(name, Weighted(), weights, P, y, objective)
        case "greedy":
            return _tempered(name, Weighted(), greedy_selection(P, y, costs, objective), P, y, objective)
        case "geometric":
            return _tempered(name, Geometric(floor=POOL_FLOOR), pool_weights(P, y), P, y, objective)
        case "stacked":
            return _stacked(P, y, objective)


def _labelled(name: RuleName, P: Floats, y: Array, costs: Sequence[float], objective: Objective) -> FittedRule:
    """The rule over labels that do not exclude each other."""
    fusion: Fusion
    weights = np.full(len(P), 1 / len(P))
    match name:
        case "mean":
            fusion = Mean()
        case "median":
            fusion = Median()
        case "vote":
            fusion = Vote()
        case "weighted":
            fusion, weights = Weighted(), mixture_weights(true_shares(P, y))
        case "greedy":
            fusion, weights = Weighted(), greedy_selection(P, y, costs, objective)
        case "geometric":
            fusion, weights = Geometric(floor=POOL_FLOOR), odds_pool_weights(P, y, POOL_FLOOR)
        case "stacked":
            raise ValueError("labels have no stacked rule: recipes and refits refuse it; this is a bug")
    fused = FittedRule(name, fusion, weights, task="multilabel")(P)
    temperature = label_temperature(fused, "probabilities", y)
    return FittedRule(name, msgspec.structs.replace(fusion, temperature=temperature), weights, task="multilabel")


def single(member: int, members: int) -> FittedRule:
    """The rule that answers with one member alone: what every other rule has to beat."""
    return FittedRule("best single", Weighted(), np.eye(members)[member])


def _stacked(P: Floats, y: Labels, objective: Objective) -> FittedRule:
    data = fit_stacker(P, y).to_onnx()
    # Where a member is missing the pool answers: of the fixed rules it is the nearest to a learned log-linear one.
    pool = _tempered("geometric", Geometric(floor=POOL_FLOOR), pool_weights(P, y), P, y, objective)
    fallback = pool.fusion
    assert isinstance(fallback, Fallback)
    fusion = Stacked(file=FUSION_FILE, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), fallback=fallback)
    return _tempered("stacked", fusion, pool.weights, P, y, objective, FusionGraph(data))


def _tempered(
    name: str,
    fusion: Fusion,
    weights: Floats,
    P: Floats,
    y: Array,
    objective: Objective,
    stacker: FusionGraph | None = None,
) -> FittedRule:
    """The rule with the temperature that calibrates its own answer; values have none."""
    if not objective.classifies:
        return FittedRule(name, fusion, weights, stacker, "regression")
    fused = fuse(fusion, P, weights, stacker=stacker)
    temperature = fit_temperature(fused, "probabilities", y)
    return FittedRule(name, msgspec.structs.replace(fusion, temperature=temperature), weights, stacker)
