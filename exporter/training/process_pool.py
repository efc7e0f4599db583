"""Jobs on all cores: one process per core and one thread per process, so that results do not depend on the machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

from exporter.data.dataset import Dataset
from exporter.data.splits import Split
from exporter.errors import ExportError
from exporter.optimisation.spec import Device
from exporter.threads import one_thread
from exporter.training.jobs import Job, Made
from exporter.training.joint import run_unit, units_of

# Read by the BLAS and OpenMP libraries when they load, so workers must be born with them.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

_context: list[tuple[Dataset, Split]] = []
"""What every job of a worker process works on; sent once."""


def require_device(device: Device) -> None:
    """Raise ExportError when members are to train where torch cannot."""
    if device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise ExportError(
            f"--device cuda: torch {torch.__version__} sees no GPU, expected one; --device cpu trains here"
        )


def run_jobs(jobs: Sequence[Job], dataset: Dataset, split: Split, workers: int) -> Iterator[tuple[Job, Made]]:
    """Each job with its result, as they finish; in this process for one worker. Jobs that train jointly are one task.

    Raises the first job's error and abandons the rest. Closing the iterator ends the workers.
    """
    if not jobs:
        return
    units = units_of(jobs)
    if workers <= 1 or len(units) == 1:
        with one_thread():
            for unit in units:
                yield from zip(unit, run_unit(unit, dataset, split), strict=True)
        return
    with tempfile.TemporaryDirectory(prefix="tutti-training-") as folder:
        # By a file: a worker that dies before it has read a pipe would leave this process writing to it for ever.
        context = Path(folder) / "context"
        _hand_over(context, dataset, split)
        with _environment(_ONE_THREAD):
            executor = ProcessPoolExecutor(
                min(workers, len(units)), multiprocessing.get_context("spawn"), _start_worker, (context,)
            )
            futures = {executor.submit(_run_in_worker, unit): unit for unit in units}
        processes = executor._processes  # kept here: shutdown() forgets them before they have ended
        try:
            for future in as_completed(futures):
                yield from zip(futures[future], future.result(), strict=True)
        except BrokenProcessPool as error:
            raise ExportError("a training process died (out of memory?)") from error
        except BaseException:
            _end(processes)
            raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _hand_over(context: Path, dataset: Dataset, split: Split) -> None:
    try:
        with context.open("wb") as stream:
            pickle.dump((dataset, split), stream, pickle.HIGHEST_PROTOCOL)
    except OSError as error:
        raise ExportError(
            f"the rows cannot be handed to training processes by {context.parent}: {error.strerror}; TMPDIR names "
            "another folder, --workers 1 needs none"
        ) from error


def _start_worker(context: Path) -> None:
    # Ctrl-C reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, name="parent-watch", daemon=True).start()
    import torch

    torch.set_num_threads(1)
    with context.open("rb") as stream:
        _context[:] = [pickle.load(stream)]  # noqa: S301 - our own parent wrote it, into a private folder


def _leave_with_parent() -> None:
    """End this process when its parent is gone, however that died: no orphan trains on."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _run_in_worker(unit: Sequence[Job]) -> list[Made]:
    ((dataset, split),) = _context
    return run_unit(unit, dataset, split)


def _end(processes: Mapping[int, multiprocessing.process.BaseProcess]) -> None:
    for process in list(processes.values()):
        process.terminate()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
