"""Training all members of a recipe: jobs, what an earlier run left, who failed, and progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.data.dataset import Dataset
from exporter.data.splits import Split
from exporter.detectors import DetectorFamily
from exporter.errors import MembersFailed
from exporter.members.base import Family
from exporter.optimisation.spec import Hardware, Mode, Parallel, by_gradient
from exporter.recipe.recipe import Recipe
from exporter.seeds import member_seed
from exporter.training.choice import check_gangs
from exporter.training.engines.engine import Engine, Event, Failed, Given, Outcome, Task
from exporter.training.engines.queue import longest_first, seconds_of
from exporter.training.finished_jobs import WorkFolder
from exporter.training.jobs import FINAL, Job, Made, rows_of
from exporter.training.joint import digests_of, units_of
from exporter.training.records import TrainingRecord, TrainingRecords
from exporter.training.starts import Starts

Report = Callable[[str, int, int], None]
"""Told of each step: what is done, how many are done, how many there are."""
Watch = Callable[[Event], None]
"""Told of each event of a training."""


Further = Callable[[Mapping[Job, Made]], Sequence[Job]]
"""All members' results → jobs that are made of them."""


def _nothing_further(results: Mapping[Job, Made]) -> Sequence[Job]:
    return ()


@dataclass(frozen=True)
class AllMade:
    """Every training of a recipe. A job that makes several members is there once for each, under its name."""

    results: dict[Job, Made]
    reused: int
    """Trainings that were taken over."""
    records: TrainingRecords


def jobs_of(recipe: Recipe, hardware: Hardware) -> list[Job]:
    """Every training of the recipe: each member on all fit rows, and once per fold; each detector on all fit rows."""
    members = [
        (name, spec, fold) for fold in (FINAL, *range(recipe.split.folds)) for name, spec in recipe.members.items()
    ]
    detectors = [(name, spec, FINAL) for name, spec in recipe.detectors.items()]
    return [
        Job(
            name, spec, fold, member_seed(recipe.seed, name, fold), hardware.device, hardware.precision,
            hardware.compiled, _technique(recipe, name, spec),
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
    engine: Engine,
    hardware: Hardware,
    repository: Path,
    resume: bool,
    report: Report,
    watch: Watch,
    further: Further = _nothing_further,
) -> AllMade:
    """Every member's result; with `resume` those in `work` are taken over by digest.

    Whoever begins with another member's parameters (`init_from`; those of versions are in `repository`) is trained
    after that one, and `further` jobs are asked for when all are there.

    Each result is saved as it comes, and each network's state now and then, so an interruption costs seconds. A member
    that fails stops no other. Raises MembersFailed when all others are done.
    """
    started = time.perf_counter()
    starts = Starts(recipe, repository)
    jobs = jobs_of(recipe, hardware)
    check_gangs([Task((job,), "", rows_of(job, split)) for job in jobs])
    ledger = _Ledger(work, report, len(jobs) + len(recipe.aggregates) * (1 + recipe.split.folds))
    given = Given(dataset, split, work.folder, hardware.device)

    def train(wave: Sequence[Job]) -> None:
        digests = digests_of(wave, dataset, split)
        tasks = [Task(unit, digests[unit[0]], rows_of(unit[0], split)) for unit in units_of(wave)]
        ledger.begin(tasks, digests, resume=resume)
        with closing(engine.run(ledger.missing(), given, watch)) as outcomes:
            for outcome in outcomes:
                watch(outcome)
                ledger.enter(outcome)

    for wave in starts.waves(jobs):
        train([starts.begun(job, ledger.results, dataset, split) for job in wave if starts.ready(job, ledger.results)])
    ledger.require_all()
    train(further(ledger.results))
    ledger.require_all()
    records = TrainingRecords(
        engine=engine.name, technique=recipe.training.mode, workers=engine.workers,
        seconds=round(time.perf_counter() - started, 3), trainings=_in_order(ledger.records, jobs),
    )  # fmt: skip
    return AllMade(_by_member(ledger.results), ledger.reused, records)


def _in_order(records: Mapping[Job, TrainingRecord], jobs: Sequence[Job]) -> tuple[TrainingRecord, ...]:
    """As the recipe names them; what was made of them follows."""
    place = {(job.member, job.fold): number for number, job in enumerate(jobs)}
    return tuple(records[job] for job in sorted(records, key=lambda job: place.get((job.member, job.fold), len(jobs))))


class _Ledger:
    """What is done, what failed."""

    def __init__(self, work: WorkFolder, report: Report, jobs: int) -> None:
        """`jobs`: how many there will be."""
        self._work, self._report, self._jobs = work, report, jobs
        self._tasks: list[Task] = []
        self._digests: dict[Job, str] = {}
        self.reused = 0
        self.results: dict[Job, Made] = {}
        self.records: dict[Job, TrainingRecord] = {}
        self._failures: dict[Task, str] = {}
        self._took: dict[Task, float] = {}

    def begin(self, tasks: Sequence[Task], digests: Mapping[Job, str], *, resume: bool) -> None:
        """Further tasks; with `resume` what an earlier run has finished of them is taken over.

        Of jobs that train jointly all or none are.
        """
        before = self.reused
        self._tasks += tasks
        self._digests.update(digests)
        for task in tasks:
            if not resume:
                self._work.forget(task.digest)
            elif len(found := self._finished(task)) == len(task.jobs):
                self._add(task, found, found[0].worker, taken_over=True)
                self.reused += len(found)
        if tasks and (len(self._tasks) == len(tasks) or self.reused > before):
            told = f"{self.reused} of {self._jobs} trainings taken over" if self.reused else "training"
            self._report(told, len(self.results), self._jobs)

    def enter(self, outcome: Outcome) -> None:
        """A task's end. Raises ExportError when the work folder cannot be written."""
        if isinstance(outcome, Failed):
            self.failed(outcome)
        else:
            self.done(outcome.task, outcome.made, outcome.worker)

    def missing(self) -> list[Task]:
        """The tasks that are left, the longest first."""
        left = [task for task in self._tasks if task.jobs[0] not in self.results and task not in self._failures]
        return longest_first(left, self._took)

    def done(self, task: Task, made: Sequence[Made], worker: str) -> None:
        """Save and count it. Raises ExportError when the work folder cannot be written."""
        for job, one in zip(task.jobs, made, strict=True):
            self._work.save(self._digests[job], replace(one, worker=worker))
        self._work.forget(task.digest)
        self._add(task, tuple(made), worker)
        self._report(task.label, len(self.results), self._jobs)

    def _finished(self, task: Task) -> tuple[Made, ...]:
        found = (self._work.load(self._digests[job]) for job in task.jobs)
        return tuple(one for one in found if one is not None)

    def failed(self, outcome: Failed) -> None:
        """Keep the reason for the end."""
        reason = outcome.reason
        if outcome.trace:
            reason += f" (traceback: {self._work.note(outcome.task.digest, outcome.trace)})"
        self._failures[outcome.task] = reason
        self._report(f"{outcome.task.label} failed", len(self.results), self._jobs)

    def require_all(self) -> None:
        """Raises MembersFailed."""
        if self._failures:
            subject = (
                f"{len(self._failures)} of {len(self._tasks)} trainings failed, the {len(self._took)} that finished "
                f"are kept in {self._work.folder} for --resume"
            )
            raise MembersFailed(subject, list(self._failures.values()))

    def _add(self, task: Task, made: tuple[Made, ...], worker: str, *, taken_over: bool = False) -> None:
        self._took[task] = seconds_of(made)
        for job, one in zip(task.jobs, made, strict=True):
            self.results[job] = one
            self.records[job] = TrainingRecord(
                member=job.member, fold=None if job.fold == FINAL else job.fold, seconds=round(one.seconds, 3),
                processor_seconds=round(one.processor_seconds, 3), worker=worker, taken_over=taken_over,
                exchanged_bytes=one.exchanged.bytes, synchronisations=one.exchanged.synchronisations,
                ended=tuple(ended for curve in one.curves if (ended := curve.summary())),
            )  # fmt: skip


def _by_member(results: Mapping[Job, Made]) -> dict[Job, Made]:
    return {
        replace(job, member=name): one for job, made in results.items() for name, one in made.each(job.member).items()
    }
