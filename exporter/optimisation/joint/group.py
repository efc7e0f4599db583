"""Several members' trainings as one: each trainer runs up to its problem, the problems are solved together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from exporter.errors import TrainingError
from exporter.optimisation.joint.asynchronous import solve_asynchronously
from exporter.optimisation.joint.participant import Participant, planned
from exporter.optimisation.joint.randomness import Randomness
from exporter.optimisation.joint.synchronous import solve_synchronously
from exporter.optimisation.joint.trainer import Trainer
from exporter.optimisation.problem import Problem
from exporter.optimisation.run import Run
from exporter.optimisation.spec import Parallel

Made = TypeVar("Made")
Work = Callable[[Run], Made]


@dataclass(frozen=True)
class Together(Generic[Made]):
    """What every member's work gave, and who of them trained jointly."""

    made: dict[str, Made]
    joined: tuple[str, ...]


def train_together(works: Mapping[str, Work[Made]], how: Parallel, runs: Mapping[str, Run]) -> Together[Made]:
    """Each member's work done, with its network trained jointly with the others'.

    A member that states no problem with logits of classes is trained by itself, unless `how.members` names it. Raises
    what a member's work raised, and TrainingError; no thread is left then.
    """
    trainers = {name: Trainer(name, work, runs[name]) for name, work in works.items()}
    try:
        stated = {name: trainer.go_on() for name, trainer in trainers.items()}
        problems = {name: problem for name, problem in stated.items() if problem is not None}
        _require(problems, how)
        joined = tuple(problems) if len(problems) > 1 else ()
        if joined:
            _solve(trainers, problems, how)
        for name in problems:
            trainers[name].go_on("solved" if joined else "alone")
        return Together({name: trainer.made for name, trainer in trainers.items()}, joined)
    finally:
        for trainer in trainers.values():
            trainer.close()


def _require(problems: Mapping[str, Problem], how: Parallel) -> None:
    if absent := [name for name in how.members if name not in problems]:
        raise TrainingError(
            f"training.members names {absent[0]!r}, whose network gives no logits of classes, so that it cannot train "
            "jointly; leave it out, it is then trained by itself"
        )
    if len(rows := {problem.rows for problem in problems.values()}) > 1:
        raise TrainingError(f"members train on {sorted(rows)} rows, expected the same for all; this is a bug")


def _solve(trainers: Mapping[str, Trainer[Made]], problems: Mapping[str, Problem], how: Parallel) -> None:
    members = {
        name: Participant(problem, trainers[name].randomness, trainers[name].run)
        for name, problem in _planned(problems, how).items()
    }
    if how.joint == "synchronous":
        solve_synchronously(members, how)
    else:
        with Randomness.now().here():  # dropout draws from the global generators
            solve_asynchronously(members, how)
    for name, member in members.items():
        member.end()
        trainers[name].run.curves.append(member.loop.watch.curve())


def _planned(problems: Mapping[str, Problem], how: Parallel) -> Mapping[str, Problem]:
    """Synchronously all take as many epochs as the one that asks for most, in batches of the first."""
    if how.joint == "asynchronous":
        return problems
    first = next(iter(problems.values()))
    epochs = how.epochs or max(problem.spec.epochs for problem in problems.values())
    return {name: planned(problem, epochs, first.steps // first.spec.epochs) for name, problem in problems.items()}
