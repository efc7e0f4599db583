"""What an ensemble is fitted for: the loss of one row, the figure that sums losses up, and all figures beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array, Rows
from exporter.scoring.metrics import Metrics, label_losses, log_losses, measure, measure_labels, measure_values
from model_repo.format.manifest import Task

MetricName = Literal["log_loss", "rmse", "mae"]

DEFAULT_METRIC: dict[Task, MetricName] = {"classification": "log_loss", "multilabel": "log_loss", "regression": "rmse"}
"""By task; the tasks that recipes train."""

METRICS_OF: dict[Task, tuple[MetricName, ...]] = {
    "classification": ("log_loss",),
    "multilabel": ("log_loss",),
    "regression": ("rmse", "mae"),
}
"""What a task may be fitted for."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Objective:
    """A metric by its name. Answers are float [n, C]: probabilities, or values (C numbers each)."""

    metric: MetricName
    labels: bool = False
    """Whether classes do not exclude each other: targets are 0 or 1, [n, C]."""

    @property
    def classifies(self) -> bool:
        """Whether answers are probabilities of classes of which one is true."""
        return self.metric == "log_loss" and not self.labels

    def losses(self, answer: NDArray[np.floating], y: Array) -> Floats:
        """Of each row, float64 [n]: -ln p of the true class, the squared or the absolute difference.

        Of values of several numbers it is the mean over them.
        """
        if self.metric == "log_loss":
            return label_losses(answer, y) if self.labels else log_losses(answer, y)
        difference: Floats = np.abs(answer.astype(np.float64) - y.reshape(answer.shape))
        losses: Floats = (np.square(difference) if self.metric == "rmse" else difference).mean(axis=1)
        return losses

    def figure(self, losses: Floats) -> float:
        """The metric of these rows' losses: their mean, for `rmse` its root."""
        mean = float(losses.mean())
        return float(np.sqrt(mean)) if self.metric == "rmse" else mean

    def of(self, answer: NDArray[np.floating], y: Array) -> float:
        """The metric of answers."""
        return self.figure(self.losses(answer, y))

    def measure(self, answer: NDArray[np.floating], rows: Rows) -> Metrics:
        """Every figure of answers to the rows, without the latency."""
        if self.labels:
            return measure_labels(answer, rows.target)
        if self.classifies:
            return measure(answer, rows.target)
        if rows.target.ndim > 1:
            return measure_values(answer.ravel(), rows.target.ravel())
        return measure_values(answer[:, 0], rows.target, rows.group)


def columns_of(metric: MetricName, ranked: bool, labels: bool = False) -> Sequence[str]:
    """The figures that a report of this metric shows, in order."""
    if labels:
        return ("micro_f1", "macro_f1", "log_loss", "brier")
    if metric == "log_loss":
        return ("accuracy", "log_loss", "ece", "brier")
    return ("rmse", "mae", "ndcg_at_10") if ranked else ("rmse", "mae")


def wording(figure: str) -> str:
    """A figure's name for people: `log-loss`, `ndcg@10`."""
    return {
        "log_loss": "log-loss",
        "ndcg_at_10": "ndcg@10",
        "token_error_rate": "token errors",
        "micro_f1": "micro F1",
        "macro_f1": "macro F1",
    }.get(figure, figure)
