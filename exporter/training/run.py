"""Training all members of a recipe: jobs, what an earlier run left, and progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from exporter.data.dataset import Dataset
from exporter.data.splits import Split
from exporter.detectors import DetectorFamily
from exporter.gate.inference import cores
from exporter.members.base import Family
from exporter.optimisation.spec import Device, Mode, Parallel, by_gradient
from exporter.recipe.recipe import Recipe
from exporter.seeds import member_seed
from exporter.training.finished_jobs import WorkFolder
from exporter.training.jobs import FINAL, Job, Made
from exporter.training.joint import digests_of, whole_groups

Report = Callable[[str, int, int], None]
"""Told of each step: what is done, how many are done, how many there are."""


def jobs_of(recipe: Recipe, device: Device) -> list[Job]:
    """Every training of the recipe: each member on all fit rows, and once per fold; each detector on all fit rows."""
    members = [
        (name, spec, fold) for fold in (FINAL, *range(recipe.split.folds)) for name, spec in recipe.members.items()
    ]
    detectors = [(name, spec, FINAL) for name, spec in recipe.detectors.items()]
    return [
        Job(
            name, spec, fold, member_seed(recipe.seed, name, fold), device, _technique(recipe, name, spec),
            partners=recipe.together if name in recipe.together else (),
        )
        for name, spec, fold in (*members, *detectors)
    ]  # fmt: skip


def _technique(recipe: Recipe, name: str, spec: Family | DetectorFamily) -> Mode:
    alone = isinstance(recipe.training, Parallel) and name not in recipe.together
    return Parallel() if alone or not by_gradient(spec) else recipe.training


def train_members(
    recipe: Recipe,
    dataset: Dataset,
    split: Split,
    work: WorkFolder,
    *,
    device: Device,
    workers: int,
    resume: bool,
    report: Report,
) -> tuple[dict[Job, Made], int]:
    """Every member's result, and how many jobs were taken over from `work` (with `resume`, by digest).

    Each result is saved as it comes, so an interruption costs what is running and no more. A job that makes several
    members is there once for each of them, under its name.
    """
    from exporter.training.process_pool import require_device, run_jobs

    require_device(device)
    jobs = jobs_of(recipe, device)
    digests = digests_of(jobs, dataset, split)
    found = {job: work.load(digests[job]) if resume else None for job in jobs}
    results = whole_groups({job: made for job, made in found.items() if made is not None})
    reused = len(results)
    report(f"{reused} of {len(jobs)} trainings taken over" if reused else "training", reused, len(jobs))
    missing = [job for job in jobs if job not in results]
    for job, made in run_jobs(missing, dataset, split, _workers(workers, device)):
        work.save(digests[job], made)
        results[job] = made
        fold = "" if job.fold == FINAL else f", fold {job.fold + 1}"
        report(f"{job.member}{fold}", len(results), len(jobs))
    each = {
        replace(job, member=name): one for job, made in results.items() for name, one in made.each(job.member).items()
    }
    return each, reused


def _workers(asked: int, device: Device) -> int:
    if asked:
        return asked
    return 1 if device == "cuda" else cores()
