"""What ranks do, seen from the run folder: each thing is told once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exporter.optimisation.run import EpochDone
from exporter.training.engines.engine import Again, Began, Epoch, Outcome, Task, Tell
from exporter.training.engines.in_process import outcome_of
from exporter.training.engines.run_folder import Progress, RunFolder, Running


class Follower:
    """Reads the folder again and again."""

    def __init__(self, folder: RunFolder, tasks: Sequence[Task], tell: Tell) -> None:
        self._folder, self._tell = folder, tell
        self.open = list(tasks)
        """Those that have no outcome yet."""
        self._running: dict[Task, Running] = {}
        self._progress: dict[Task, Progress] = {}
        self._deaths: dict[Task, int] = {}

    def outcomes(self) -> Iterator[Outcome]:
        """Those that are new. Raises ModuleNotFoundError."""
        self.look()
        for task in list(self.open):
            found = self._folder.outcome(task)
            if found is not None:
                self.open.remove(task)
                yield outcome_of(task, *found)

    def look(self) -> None:
        """Tell what is new of those that run."""
        for task in self.open:
            self._look_at(task)

    def _look_at(self, task: Task) -> None:
        deaths = self._folder.deaths(task)
        if len(deaths) > self._deaths.get(task, 0):
            self._deaths[task] = len(deaths)
            self._tell(Again(task, deaths[-1].reason or f"{task.title}: its rank died"))
        running = self._folder.running(task)
        if running is None:
            return
        if running != self._running.get(task) and not running.reason:
            self._running[task] = running
            self._tell(Began(task, running.worker))
        progress = self._folder.progress(task)
        if progress is not None and progress != self._progress.get(task):
            self._progress[task] = progress
            done = EpochDone(progress.network, progress.epoch, progress.epochs, progress.loss)
            self._tell(Epoch(task, running.worker, done))
