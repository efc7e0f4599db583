"""A mixture on validation rows: the member's own trainer with the mean in the place of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.aggregating.mean import Networks, mean_of
from exporter.data.dataset import Dataset, Rows
from exporter.data.splits import Split
from exporter.errors import ParametersError
from exporter.fusing.rules import calibrated_stack, fit_temperatures
from exporter.members.base import Group
from exporter.optimisation.run import Run, training_in
from exporter.scoring.objective import Objective
from exporter.threads import one_thread
from exporter.training.jobs import Job, setting_of
from model_repo.format.manifest import Kind


@dataclass(frozen=True)
class Trial:
    """Measures mixtures of `members`; `job` is the final training of a member of their family."""

    job: Job
    members: Mapping[str, Networks]
    dataset: Dataset
    split: Split
    objective: Objective

    def __call__(self, weights: Mapping[str, float]) -> float:
        """The loss on the validation rows, after a temperature of its own. Raises ParametersError."""
        run = Run(start=mean_of(self.members, weights), trains=False)
        setting = setting_of(self.job, self.dataset)
        with one_thread(), training_in(run):
            trained = self.job.spec.train(self.dataset.rows.take(self.split.fit), setting)
            if isinstance(trained, Group):
                raise ParametersError(f"{self.job.member!r} makes several members: fuse their answers instead")
            rows = self.dataset.rows.take(self.split.fusion)
            return loss_of(trained.predict(rows.inputs), trained.kind, rows, self.objective)


def loss_of(output: NDArray[np.float32], kind: Kind, rows: Rows, objective: Objective) -> float:
    """Of a member's raw answers [n, C] to the rows, after a temperature of its own; infinite where one is no number."""
    if not np.isfinite(output).all():
        return float("inf")
    temperatures = fit_temperatures([output], [kind], rows.target)
    return objective.of(calibrated_stack([output], [kind], temperatures, objective.labels)[0], rows.target)
