"""A member's trainer in a thread of its own that stands still at the problem that it states."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from queue import SimpleQueue
from typing import Generic, Literal, TypeVar

from exporter.optimisation.joint.board import GroupEnded
from exporter.optimisation.joint.randomness import Randomness
from exporter.optimisation.problem import Problem
from exporter.optimisation.run import Run

Made = TypeVar("Made")
Word = Literal["solved", "alone", "end"]
"""What a trainer is told at its problem: it is solved, solve it yourself, or end here."""


@dataclass
class _JointRun(Run):
    """Hands the first problem that others can take part in to `meet`; solves any other by itself."""

    meet: Callable[[Problem], Word] = lambda _: "alone"
    met: bool = False

    def train(self, problem: Problem) -> None:
        """Solved here, or by the group."""
        word: Word = "alone"
        if problem.logits is not None and not self.met:
            self.met = True
            word = self.meet(problem)
        if word == "alone":
            super().train(problem)


class Trainer(Generic[Made]):
    """What a member's training does, in phases; one phase of one trainer at a time, so that results are the same.

    Torch's global generators are the trainer's own within a phase.
    """

    def __init__(self, name: str, work: Callable[[Run], Made], run: Run) -> None:
        """`work` trains and makes the member in a run; `run` is who is told of it."""
        self.randomness = Randomness.now()
        self.run = _JointRun(**{entry.name: getattr(run, entry.name) for entry in fields(run)}, meet=self._meet)
        self._work = work
        self._said: SimpleQueue[Problem | None] = SimpleQueue()
        self._words: SimpleQueue[Word] = SimpleQueue()
        self._made: list[Made] = []
        self._error: BaseException | None = None
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._live,), name=f"trainer-{name}", daemon=True)

    def go_on(self, word: Word = "solved") -> Problem | None:
        """Let it go on until it states a problem for the group, or is done: then None. Raises what it raised."""
        with self.randomness.here():
            if self._thread.ident is None:
                self._thread.start()
            else:
                self._words.put(word)
            problem = self._said.get()
        if problem is None:
            self._thread.join()
            if self._error is not None:
                raise self._error
        return problem

    @property
    def made(self) -> Made:
        """What it made. It is done."""
        return self._made[0]

    def close(self) -> None:
        """End it at its problem, or after the phase that it is in."""
        self._words.put("end")
        if self._thread.ident is not None:
            self._thread.join()

    def _live(self) -> None:
        try:
            self._made.append(self._work(self.run))
        except BaseException as error:
            self._error = error
        self._said.put(None)

    def _meet(self, problem: Problem) -> Word:
        self._said.put(problem)
        word = self._words.get()
        if word == "end":
            raise GroupEnded
        return word
