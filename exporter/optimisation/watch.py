"""What is measured while a network trains: its curve, on the batches of its steps and on rows that they do not see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec
import torch
from torch import Tensor, nn

from exporter.errors import TrainingError
from exporter.optimisation.checkpoints import Snapshot
from exporter.optimisation.curve import Curve, Point
from exporter.optimisation.problem import Batch, Problem

_EVALUATED_ROWS = 256
"""Held-out rows that are answered at once."""
_FEWEST_ROWS = 2
"""Of a batch: batch normalisation has no deviation of one row."""


_OWN_STREAM = 0x5EED
"""Differs from the order's: of one stream, the rows held out would be the first epoch's first batches."""


class Watch:
    """The curve of one training, and the rows that are held out of it.

    A point is closed every `report_every` steps and at the end of each epoch, so that no sum goes on from one to the
    next.
    """

    def __init__(self, problem: Problem) -> None:
        """Raises TrainingError where the problem has no such figures as its spec wants reached, or too few rows."""
        self.points: list[Point] = []
        self.steps = 0
        """Taken by this worker."""
        self.reached = False
        """Whether the figures of `stop_at` were reached at the last point."""
        self._problem = problem
        self._said = _Said() if problem.logits is not None else None
        self.held_out = _held_out(problem)
        self._loss, self._right = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        self._batches = self._rows = 0

    def state(self) -> Snapshot:
        """What an epoch leaves to the next."""
        return {"steps": self.steps, "points": msgspec.to_builtins(self.points), "reached": self.reached}

    def restore(self, state: Snapshot) -> None:
        """Go on from a state."""
        self.steps, self.reached = state["steps"], state["reached"]
        self.points = msgspec.convert(state["points"], list[Point])

    def listen(self, network: nn.Module) -> None:
        """Hear what the network answers in steps: it is computed once."""
        if self._said is not None:
            network.register_forward_hook(self._said.hear)

    def stepped(self, loss: Tensor, batch: Batch) -> None:
        """A step was taken along the gradients of `loss`."""
        self.steps += 1
        self._batches += 1
        self._loss = self._loss + loss.detach().float()
        if self._said is None or self._problem.logits is None or self._said.last is None:
            return
        with torch.no_grad():
            logits = self._problem.logits(self._said, batch)
            self._right = self._right + (logits.argmax(dim=1) == batch[-1]).sum()
        self._said.last = None
        self._rows += len(batch[-1])

    @property
    def due(self) -> bool:
        """Whether `report_every` steps were taken."""
        every = self._problem.spec.report_every
        return bool(every) and self.steps % every == 0 and self._batches > 0

    @property
    def pending(self) -> bool:
        """Whether steps were taken since the last point."""
        return self._batches > 0

    def point(self, epoch: float) -> Point:
        """A further point of the curve, `epoch` epochs after the beginning."""
        problem = self._problem
        validation = self._figures() if len(self.held_out) else {}
        found = Point(
            step=self.steps,
            epoch=round(epoch, 4),
            loss=float(self._loss) / self._batches,
            accuracy=int(self._right) / self._rows if self._rows else None,
            validation=validation,
        )
        self.points.append(found)
        self.reached = problem.spec.stop_at is not None and problem.spec.stop_at.reached(validation)
        self._begin()
        return found

    def curve(self) -> Curve:
        """All of it."""
        spec = self._problem.spec
        return Curve(
            points=tuple(self.points),
            epochs=spec.epochs,
            rows=self._problem.rows,
            held_out=len(self.held_out),
            bounds=spec.stop_at.bounds if spec.stop_at is not None else {},
            reached=self.reached,
        )

    def _begin(self) -> None:
        """The sums since the last point; tensors, so that no step waits for a device."""
        self._loss, self._right = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        self._batches = self._rows = 0

    @torch.no_grad()
    def _figures(self) -> dict[str, float]:
        """Of the rows that are held out, in float32 and evaluation mode."""
        problem = self._problem
        assert problem.plain is not None
        problem.module.eval()
        batches = [problem.plain(part) for part in torch.split(self.held_out, _EVALUATED_ROWS)]
        measured = _classes if problem.logits is not None else _values
        answer = problem.logits or problem.value
        assert answer is not None
        answers = torch.cat([answer(problem.module, batch) for batch in batches])
        target = torch.cat([batch[-1] for batch in batches])
        problem.module.train()
        return measured(answers.float(), target)


class _Said(nn.Module):
    """Stands for a network and gives what it answered last."""

    last: Tensor | None = None

    def hear(self, _network: nn.Module, _inputs: object, output: Tensor) -> None:
        self.last = output

    def forward(self, *_inputs: object) -> Tensor:
        assert self.last is not None
        return self.last


def _classes(logits: Tensor, target: Tensor) -> dict[str, float]:
    """Of logits [n, C] and classes [n]."""
    return {
        "accuracy": int((logits.argmax(dim=1) == target).sum()) / len(target),
        "log_loss": float(nn.functional.cross_entropy(logits, target)),
    }


def _values(values: Tensor, target: Tensor) -> dict[str, float]:
    """Of values [n] or [n, 1] and targets [n], in the target's unit."""
    left = values.reshape(len(target)) - target
    return {"rmse": float(left.square().mean().sqrt()), "mae": float(left.abs().mean())}


def _held_out(problem: Problem) -> Tensor:
    """int64 [held out], ascending: drawn by the problem's seed, in a stream of its own; empty without `stop_at`."""
    spec = problem.spec
    if spec.stop_at is None:
        return torch.zeros(0, dtype=torch.int64)
    known = ("accuracy", "log_loss") if problem.logits is not None else ("rmse", "mae") if problem.value else ()
    strange = [name for name in spec.stop_at.bounds if name not in known or problem.plain is None]
    if strange or not spec.stop_at.bounds:
        there = f"this training has {' and '.join(known)}" if known else "this family's training has no such figures"
        raise TrainingError(f"stop_at has {', '.join(strange) or 'no figure'}, {there}")
    if spec.average is not None:
        raise TrainingError(
            f"stop_at looks at the weights of each step, average = {spec.average!r} keeps others: one of them"
        )
    count = max(1, round(problem.rows * spec.validation_share))
    if problem.rows - count < _FEWEST_ROWS:
        raise TrainingError(f"stop_at holds {count} of {problem.rows} rows out, which leaves too few to train on")
    drawing = torch.Generator().manual_seed(problem.generator.initial_seed() ^ _OWN_STREAM)
    return torch.randperm(problem.rows, generator=drawing)[:count].sort().values


Epoch = Callable[[torch.Generator], Iterable[Tensor]]


def without(epoch: Epoch, rows: int, held_out: Tensor) -> Epoch:
    """The batches of `epoch` without the rows that are held out of all `rows`; those of less than two rows fall out."""
    kept = torch.ones(rows, dtype=torch.bool)
    kept[held_out] = False

    def batches(generator: torch.Generator) -> Iterator[Tensor]:
        for index in epoch(generator):
            own = index[kept[index]]
            if len(own) >= min(_FEWEST_ROWS, len(index)):
                yield own

    return batches
