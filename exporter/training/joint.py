"""Jobs that train jointly: a unit that one worker runs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from exporter.data.dataset import Dataset
from exporter.data.splits import Split
from exporter.errors import TrainingError
from exporter.optimisation.run import Run
from exporter.optimisation.spec import Parallel
from exporter.threads import one_thread
from exporter.training.jobs import FINAL, Job, Made, run_job

Unit = tuple[Job, ...]
"""Jobs that one worker runs together: one by itself, or all partners of a fold."""


def units_of(jobs: Sequence[Job]) -> list[Unit]:
    """The jobs, those that train jointly side by side, in the order in which each unit's first one comes."""
    units: dict[object, list[Job]] = {}
    for job in jobs:
        units.setdefault((job.partners, job.fold) if job.partners else job, []).append(job)
    return [tuple(unit) for unit in units.values()]


def digests_of(jobs: Sequence[Job], dataset: Dataset, split: Split) -> dict[Job, str]:
    """What each job's result is saved under; of those that train jointly it depends on every partner."""
    found: dict[Job, str] = {}
    for unit in units_of(jobs):
        own = [job.digest(dataset, split) for job in unit]
        for job, digest in zip(unit, own, strict=True):
            found[job] = _digest([digest, *own]) if len(unit) > 1 else digest
    return found


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def run_unit(unit: Sequence[Job], dataset: Dataset, split: Split, runs: Sequence[Run] = ()) -> list[Made]:
    """A result for each job, in order; `runs` are those that they train in. Errors name the member."""
    runs = runs or [Run() for _ in unit]
    if len(unit) == 1 and not unit[0].partners:
        return [run_job(unit[0], dataset, split, runs[0])]
    from exporter.optimisation.joint.group import train_together

    technique, fold = unit[0].technique, unit[0].fold
    if not isinstance(technique, Parallel):
        raise TrainingError(f"mode {technique.mode!r} trains no members jointly; this is a bug")
    started, processor = time.perf_counter(), time.process_time()
    works = {job.member: partial(_run_in_thread, job, dataset, split) for job in unit}
    try:
        found = train_together(works, technique, {job.member: run for job, run in zip(unit, runs, strict=True)})
    except TrainingError as error:
        told = str(error)
        where = "" if fold == FINAL or told.startswith("member ") else f"fold {fold}: "
        raise TrainingError(where + told) from error
    # Each one's part: their trainings lie inside each other.
    seconds = (time.perf_counter() - started) / len(unit)
    processor_seconds = (time.process_time() - processor) / len(unit)
    return [
        replace(
            found.made[job.member], joint=found.joined if job.member in found.joined else (),
            seconds=seconds, processor_seconds=processor_seconds,
        )
        for job in unit
    ]  # fmt: skip


def _run_in_thread(job: Job, dataset: Dataset, split: Split, run: Run) -> Made:
    """OpenMP counts its threads for each thread that begins them: a new one would take every core, and spin."""
    with one_thread():
        return run_job(job, dataset, split, run)
