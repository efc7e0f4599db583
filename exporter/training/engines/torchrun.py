"""torch's elastic launcher: one that is begun here, or the one that this command already runs under."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from exporter.errors import ExportError
from exporter.training.engines.engine import MOST_DEATHS, Failed, Given, Outcome, Task, Tell
from exporter.training.engines.environment import OF_WORKERS, loopback
from exporter.training.engines.follower import Follower
from exporter.training.engines.run_folder import ALIVE, RunFolder

LOOK_S = 0.2
"""Between two looks at what ranks have done."""
_END_S = 15.0
"""What the agent has to end its ranks."""
_RESTARTS = 3 * MOST_DEATHS
"""A task may cost MOST_DEATHS ranks; that many such tasks end an export."""


class Torchrun:
    """Ranks of this machine under torch's elastic agent, which begins them anew when one dies."""

    name = "torchrun"

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, tasks: Sequence[Task], given: Given, tell: Tell) -> Generator[Outcome, None, None]:
        """See `Engine`. Raises ExportError for a gang that is larger than there are ranks."""
        if not tasks:
            return
        check_ranks(tasks, self.workers)
        folder = RunFolder(given.work / f"torchrun-{secrets.token_hex(6)}")
        folder.create()
        try:
            folder.hand_over(tasks, given)
            with _launched(folder.path, min(self.workers, sum(task.ranks for task in tasks))) as agent:
                yield from _followed(folder, tasks, tell, agent)
        finally:
            shutil.rmtree(folder.path, ignore_errors=True)

    def close(self) -> None:
        """Nothing is kept between runs."""


def _followed(
    folder: RunFolder, tasks: Sequence[Task], tell: Tell, agent: subprocess.Popen[bytes]
) -> Iterator[Outcome]:
    follower = Follower(folder, tasks, tell)
    while follower.open:
        ended = agent.poll() is not None  # before the look: what it did last is seen
        yield from follower.outcomes()
        if ended and follower.open:
            yield from _given_up(folder, follower.open, agent)
            return
        time.sleep(LOOK_S)


def _given_up(folder: RunFolder, tasks: Sequence[Task], agent: subprocess.Popen[bytes]) -> Iterator[Outcome]:
    """The agent is gone and tasks are left. Raises ExportError where none was ever begun."""
    begun = [task for task in tasks if folder.running(task) or folder.deaths(task)]
    if not begun:
        said = [line for line in (folder.path / "log").read_text(errors="replace").splitlines() if "Error" in line]
        raise ExportError(
            f"torch's launcher ended with status {agent.returncode} before a training began"
            + (f": {said[-1].strip()[:300]}" if said else "")
        )
    for task in tasks:
        yield Failed(task, f"{task.title}: ranks died more than {_RESTARTS} times, it was not trained to its end")


@contextmanager
def _launched(folder: Path, ranks: int) -> Iterator[subprocess.Popen[bytes]]:
    """The agent; it and its ranks end with this context, or with this process."""
    os.mkfifo(folder / ALIVE, 0o600)
    alive = os.open(folder / ALIVE, os.O_RDWR | os.O_CLOEXEC)  # for writing alone it would wait for a reader
    words = [sys.executable, "-m", "exporter.training.engines.launcher", str(folder), str(ranks), str(_RESTARTS)]
    with (folder / "log").open("wb") as log:
        agent = subprocess.Popen(  # noqa: S603
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, **OF_WORKERS, **loopback()},
        )  # fmt: skip
    try:
        yield agent
    finally:
        os.close(alive)  # ranks end by themselves, too
        agent.terminate()
        try:
            agent.wait(_END_S)
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()


def check_ranks(tasks: Sequence[Task], ranks: int) -> None:
    """Raise ExportError for a gang that is larger than there are ranks."""
    most = max(tasks, key=lambda task: task.ranks, default=None)
    if most is not None and most.ranks > ranks:
        raise ExportError(
            f"training.workers is {most.ranks}, --engine torchrun has {ranks} ranks, which train {most.title} "
            f"together: expected --workers {most.ranks} or more"
        )
