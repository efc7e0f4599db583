"""What each member answered to rows that it was not trained on: all that fitting a fusion needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array, Dataset
from exporter.training.jobs import Job, Made
from model_repo.format.manifest import Kind

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Ledger:
    """Raw outputs by the exported graphs, aligned by row id.

    `rows` int64 [n] are row ids, ascending; `target` int64 [n] (classes) or float32 [n] (values); `fold` int64 [n]
    the fold whose member answered, -1 where the published member itself did; `outputs[k]` float32 [n, C] as
    `kinds[k]` says.
    """

    members: tuple[str, ...]
    kinds: tuple[Kind, ...]
    rows: Labels
    target: Array
    fold: Labels
    outputs: tuple[NDArray[np.float32], ...]

    @property
    def labels(self) -> bool:
        """Whether classes do not exclude each other: then `target` is 0 or 1, int64 [n, C]."""
        return self.target.ndim == 2 and "value" not in self.kinds


def ledger_of(results: Mapping[Job, Made], members: Sequence[str], dataset: Dataset) -> Ledger:
    """The ledger of all jobs' results: every held-out row once per member, whichever job came first."""
    outputs, kinds, shared = [], [], None
    for member in members:
        jobs = sorted((job for job in results if job.member == member), key=lambda job: job.fold)
        rows = np.concatenate([results[job].held for job in jobs])
        fold = np.concatenate([np.full(len(results[job].held), job.fold, dtype=np.int64) for job in jobs])
        order = np.argsort(rows, kind="stable")
        if shared is None:
            shared = rows[order], fold[order]
        if not np.array_equal(shared[0], rows[order]) or not np.array_equal(shared[1], fold[order]):
            raise AssertionError(f"member {member!r} answered other rows than the first member; this is a bug")
        outputs.append(np.concatenate([results[job].outputs for job in jobs])[order])
        kinds.append(results[jobs[0]].kind)
    if shared is None:
        raise AssertionError("a ledger without members; this is a bug")
    place = np.searchsorted(dataset.rows.ids, shared[0])
    return Ledger(tuple(members), tuple(kinds), shared[0], dataset.rows.target[place], shared[1], tuple(outputs))
