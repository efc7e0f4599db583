"""Where members that train asynchronously publish their answers, and wait for those that are too far behind."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch
from torch import Tensor


class GroupEnded(Exception):
    """Another member of the group failed, or the training was interrupted: this one ends with no error of its own."""


class Board:
    """The last answer of every member to every training row. Any thread."""

    def __init__(self, epochs: Sequence[int], rows: int, staleness: int) -> None:
        """`epochs`: of each member in all. Who has done `staleness` more than the slowest does not begin another."""
        self._epochs, self._rows, self._staleness = tuple(epochs), rows, staleness
        self._done = [0] * len(epochs)
        self._ended = False
        self._changed = threading.Condition()
        self._log_p: Tensor | None = None
        self._present = torch.zeros(len(epochs), rows)
        self.versions = [0] * len(epochs)
        """How often each member has published."""

    def publish(self, member: int, index: Tensor, log_p: Tensor) -> None:
        """A member's log-probabilities [n, C] of rows."""
        with self._changed:
            if self._log_p is None:
                self._log_p = torch.zeros(len(self._epochs), self._rows, log_p.shape[1], device=log_p.device)
                self._present = self._present.to(log_p.device)
            self._log_p[member, index] = log_p.detach()
            self._present[member, index] = 1.0
            self.versions[member] += 1

    def with_others(self, member: int, index: Tensor, log_p: Tensor) -> tuple[Tensor, Tensor]:
        """[K, n, C] and who is present [K, n]: the member's own answer as it is, of the others the last published."""
        with self._changed:
            if self._log_p is None:
                everyone = torch.zeros(len(self._epochs), *log_p.shape, device=log_p.device)
                present = torch.zeros(len(self._epochs), len(index), device=log_p.device)
            else:
                everyone, present = self._log_p[:, index], self._present[:, index]
        own = torch.zeros(len(self._epochs), device=log_p.device)
        own[member] = 1.0
        present[member] = 1.0
        return torch.where(own[:, None, None] > 0, log_p[None], everyone), present

    def epoch_done(self, member: int) -> None:
        """The member has finished one more epoch."""
        with self._changed:
            self._done[member] += 1
            self._changed.notify_all()

    def wait(self, member: int) -> None:
        """Until the member may begin its next epoch. Raises GroupEnded."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._lead(member) <= self._staleness)
        self.require_going()

    def end(self) -> None:
        """Nobody waits or goes on any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def require_going(self) -> None:
        """Raise GroupEnded after `end`."""
        if self._ended:
            raise GroupEnded

    def _lead(self, member: int) -> int:
        """Epochs that the member is ahead of the slowest that is still training."""
        training = [done for done, epochs in zip(self._done, self._epochs, strict=True) if done < epochs]
        return self._done[member] - min(training, default=self._done[member])
