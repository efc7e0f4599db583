"""One worker of a gang: it meets the others, and trains with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch.distributed import FileStore, Store  # type: ignore[attr-defined]  # its list of exports lacks them

from exporter.errors import TrainingError
from exporter.optimisation.exchanges.by_technique import exchange_for
from exporter.optimisation.run import EpochDone
from exporter.optimisation.spec import DataParallel, LocalSgd
from exporter.training.engines.engine import Given, Result, Task
from exporter.training.engines.worker import Failure, attempt, process_group


def meeting_by_file(path: Path, ranks: int) -> Store:
    """Where the processes of one machine meet: a file of a private folder; no port is open for it."""
    return FileStore(str(path), ranks)


def attempt_together(
    task: Task, given: Given, observe: Callable[[EpochDone], None], store: Store, rank: int
) -> Result | Failure:
    """This worker's part; all of them come to the same, the first one's counts."""
    technique = task.technique
    assert isinstance(technique, DataParallel | LocalSgd), "other techniques have engines of their own"
    try:
        with process_group(store, rank, task.ranks, given.device):
            return attempt(task, given, observe, exchange_for(technique))
    except (TrainingError, RuntimeError) as error:  # torch's own where the others do not come
        return Failure(f"{task.title}: {error}", again=True)
