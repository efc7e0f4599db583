"""Asynchronous joint training: each member at its own pace, against what the others last published."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed

import torch

from exporter.optimisation.joint.board import Board, GroupEnded
from exporter.optimisation.joint.objective import coupling
from exporter.optimisation.joint.participant import Participant, require_finite
from exporter.optimisation.spec import Parallel


def solve_asynchronously(members: Mapping[str, Participant], how: Parallel) -> None:
    """Train all in place, a thread for each: own batches, own order, own epochs.

    Not deterministic: who has published what when is the machine's matter, and dropout draws from one generator. Raises
    TrainingError naming the member whose loss is not finite; the others then end after their batch.
    """
    problems = [member.problem for member in members.values()]
    board = Board([problem.spec.epochs for problem in problems], problems[0].rows, how.staleness)
    with ThreadPoolExecutor(len(members), thread_name_prefix="joint") as threads:
        try:
            going = [
                threads.submit(_train, place, name, member, board, how, torch.get_num_threads())
                for place, (name, member) in enumerate(members.items())
            ]
            for future in as_completed(going):
                future.result()
        finally:
            board.end()


def _train(place: int, name: str, member: Participant, board: Board, how: Parallel, cores: int) -> None:
    torch.set_num_threads(cores)  # OpenMP counts them for each thread that begins some
    try:
        for epoch in range(member.problem.spec.epochs):
            board.wait(place)
            loss = _epoch(place, name, member, board, how, epoch)
            board.epoch_done(place)
            member.epoch_done(loss)
    except GroupEnded:
        return
    except BaseException:
        board.end()
        raise


def _epoch(place: int, name: str, member: Participant, board: Board, how: Parallel, epoch: int) -> float:
    """The own loss of the last batch."""
    value = 0.0
    for index in member.problem.epoch(member.problem.generator):
        board.require_going()
        batch = member.batch(index)
        own, said = member.answer(batch, alone=False)
        value = own.item()
        require_finite({name: value}, epoch)
        log_p, present = board.with_others(place, index, said)
        (how.independence * own + coupling(log_p, present, batch[-1], how)).backward()  # type: ignore[no-untyped-call]
        member.descend()
        board.publish(place, index, said)
    return value
