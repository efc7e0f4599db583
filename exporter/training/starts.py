"""What each job's networks begin with: parameters of versions and files, and of members that are trained before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from exporter.data.dataset import Dataset
from exporter.data.splits import Split
from exporter.errors import ParametersError
from exporter.parameters.origin import OfMember, origin_of
from exporter.parameters.sources import found
from exporter.parameters.start import Start, overlap, require_unseen, start_of
from exporter.recipe.lineage import depth, init_from
from exporter.recipe.recipe import Recipe
from exporter.training.jobs import FINAL, Job, Made


class Starts:
    """Of one export. What is not of the recipe itself is read at once: a wrong name must not wait for a training."""

    def __init__(self, recipe: Recipe, repository: Path) -> None:
        """Raises ParametersError."""
        self._members = recipe.members
        self._read: dict[str, Start] = {}
        for spec in (*recipe.members.values(), *recipe.detectors.values()):
            text = init_from(spec)
            if text is not None and not isinstance(origin := origin_of(text, recipe.members), OfMember):
                self._read[text] = self._read.get(text) or found(origin, repository)

    def waves(self, jobs: Sequence[Job]) -> list[list[Job]]:
        """The jobs in the order in which they may run: whoever begins with a member's parameters after that one's."""
        depths = [depth(job.member, self._members) for job in jobs]
        return [[job for job, own in zip(jobs, depths, strict=True) if own == place] for place in sorted(set(depths))]

    def ready(self, job: Job, results: Mapping[Job, Made]) -> bool:
        """Whether what it begins with is there: no training of the recipe that has failed."""
        text = init_from(job.spec)
        return text is None or text in self._read or _of_fold(text, job, results) is not None

    def begun(self, job: Job, results: Mapping[Job, Made], dataset: Dataset, split: Split) -> Job:
        """The job with what it begins with.

        A fold begins anew where those parameters have seen its rows: its answers are to be those of a member that has
        not. Raises ParametersError; DataError where even validation or test rows were trained on.
        """
        text = init_from(job.spec)
        if text is None:
            return job
        start = self._read[text] if text in self._read else _of_member(text, job, results)
        if job.fold != FINAL and overlap(start, dataset.digest, dataset.rows.ids[split.fit[split.fold == job.fold]]):
            return job
        require_unseen(job.member, start, dataset.digest, dataset.rows.ids[np.concatenate([split.fusion, split.test])])
        return replace(job, start=start)


def _of_member(name: str, job: Job, results: Mapping[Job, Made]) -> Start:
    """The parameters of the member that was trained on the same rows."""
    made = _of_fold(name, job, results)
    if made is None or not made.parameters:
        raise ParametersError(f"member {job.member!r}: init_from {name!r}, for which no network was trained")
    return start_of(name, made.parameters)


def _of_fold(name: str, job: Job, results: Mapping[Job, Made]) -> Made | None:
    """The member's result without the job's fold."""
    return next((made for other, made in results.items() if (other.member, other.fold) == (name, job.fold)), None)
