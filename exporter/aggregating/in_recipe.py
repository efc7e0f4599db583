"""The aggregates of a recipe: mixed by the finals' validation rows, then made on all fit rows and without each fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.aggregating.jobs import mixed_job
from exporter.aggregating.lineage import require_one_lineage
from exporter.aggregating.mixing import mixed
from exporter.aggregating.trial import Trial, loss_of
from exporter.data.dataset import Dataset
from exporter.data.splits import Split
from exporter.errors import ExportError, ParametersError
from exporter.parameters.file import Parameters, read
from exporter.recipe.lineage import Aggregate
from exporter.recipe.recipe import Recipe
from exporter.reporting.mixtures import Mixture
from exporter.training.jobs import FINAL, Job, Made


@dataclass(frozen=True)
class Mixed:
    """The recipe's mixtures, and the jobs that make them."""

    mixtures: tuple[Mixture, ...]
    jobs: tuple[Job, ...]


def mix_members(recipe: Recipe, results: Mapping[Job, Made], dataset: Dataset, split: Split) -> Mixed:
    """Every aggregate of the recipe.

    Folds are mixed by the weights that were found with the finals, so an out-of-fold answer stays one. Raises
    ParametersError where members are not of one lineage.
    """
    mixtures, jobs = [], []
    for name, aggregate in recipe.aggregates.items():
        try:
            mixture, own = _one(name, aggregate, recipe, results, dataset, split)
        except ExportError as error:
            raise type(error)(f"aggregate {name!r}: {error}") from error
        mixtures.append(mixture)
        jobs += own
    return Mixed(tuple(mixtures), tuple(jobs))


def _one(
    name: str, aggregate: Aggregate, recipe: Recipe, results: Mapping[Job, Made], dataset: Dataset, split: Split
) -> tuple[Mixture, list[Job]]:
    by_fold = {fold: _trained(aggregate, results, fold) for fold in (FINAL, *range(recipe.split.folds))}
    finals = by_fold[FINAL]
    parameters = {job.member: _read(job, made) for job, made in finals.items()}
    require_one_lineage(parameters)
    rows, objective = dataset.rows.take(split.fusion), recipe.objective
    losses = {job.member: loss_of(made.outputs, made.kind, rows, objective) for job, made in finals.items()}
    first = next(iter(finals))
    networks = {member: found.networks for member, found in parameters.items()}
    mixture = mixed(name, aggregate, losses, Trial(first, networks, dataset, split, objective))
    jobs = []
    for trained in by_fold.values():
        of_fold = {job.member: _read(job, made) for job, made in trained.items()}
        jobs.append(mixed_job(name, next(iter(trained)), of_fold, mixture.weights))
    return mixture, jobs


def _trained(aggregate: Aggregate, results: Mapping[Job, Made], fold: int) -> dict[Job, Made]:
    """The members' trainings of that fold, in the order in which the aggregate names them."""
    known = {job.member: (job, made) for job, made in results.items() if job.fold == fold}
    return dict(known[member] for member in aggregate.members)


def _read(job: Job, made: Made) -> Parameters:
    if not made.parameters:
        raise ParametersError(f"no network was trained for {job.member!r}: leave it out, and fuse its answers")
    return read(made.parameters, job.member)
