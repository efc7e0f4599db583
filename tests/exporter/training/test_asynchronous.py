"""Members trained by actors of a real cluster: what a killed worker, server or producer costs."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from torch import Tensor, nn

from exporter.data.splits import SplitSpec, split
from exporter.errors import ExportError, TrainingError
from exporter.images.families import Pca
from exporter.members.base import Training
from exporter.optimisation.loop import Exchange
from exporter.optimisation.run import EpochDone, Run, optimise, training_in
from exporter.optimisation.spec import Dataflow, ParameterServer
from exporter.recipe.sources import Digits, clean
from exporter.training.asynchronous.actors import Observe
from exporter.training.asynchronous.crew import Crew, run_with_ray
from exporter.training.jobs import FINAL, Job
from tests.exporter.optimisation.problems import SIZES, accuracy, network, problem

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EPOCHS = 6
STEPS = EPOCHS * len(SIZES)
STORE_BYTES = 100_000_000


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Two processors of this machine, reached from nowhere else."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        ray.init(
            num_cpus=2, include_dashboard=False, object_store_memory=STORE_BYTES, log_to_driver=False,
            logging_level="ERROR", _temp_dir=folder, _node_ip_address="127.0.0.1",
        )  # fmt: skip
        yield
        ray.shutdown()


def slowly(loss: Tensor, _: int) -> Tensor:
    """A step takes long enough to be disturbed."""
    time.sleep(0.05)
    return loss


def work(exchange: Exchange, told: Observe) -> dict[str, Tensor]:
    """The small network of the other tests, slowly."""
    module = network()
    with training_in(Run(exchange, told)):
        optimise(problem(module, epochs=EPOCHS, spoil=slowly))
    return dict(module.state_dict())


def pid(actor: Any) -> int:
    """Of the actor's process."""
    found: int = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()))
    return found


def trained(state: dict[str, Tensor]) -> nn.Module:
    """The network that some worker came to."""
    module = network()
    module.load_state_dict(state)
    return module


def applied(crew: Crew) -> int:
    """Batches that are in the weights."""
    found: int = ray.get(crew.table.__ray_call__.remote(lambda table: table.applied))
    return found


def disturbed(crew: Crew, disturb: Any) -> tuple[nn.Module, list[EpochDone]]:
    """The network, with something happening when the first epoch is done."""
    heard: list[EpochDone] = []
    thread = threading.Thread(target=disturb)

    def observe(done: EpochDone) -> None:
        heard.append(done)
        if len(heard) == 1:
            thread.start()

    found = trained(crew.result(work, observe))
    thread.join(60)
    return found, heard


def test_a_killed_worker_costs_nothing_and_a_killed_server_goes_on_from_its_last_file() -> None:
    with Crew(ParameterServer(servers=2, keep_every=3, stall_s=60)) as crew:
        processes = [pid(actor) for actor in (*crew.workers, *crew.servers)]

        def kill() -> None:
            os.kill(processes[1], signal.SIGKILL)
            os.kill(processes[3], signal.SIGKILL)

        module, heard = disturbed(crew, kill)
        assert accuracy(module) > accuracy(network()) + 0.2
        assert [done.epoch for done in heard] == list(range(1, EPOCHS + 1))[: len(heard)]
        for server in crew.servers:
            assert len(ray.get(server.applied.remote())[0]) == STEPS, "each batch once"
        assert applied(crew) >= STEPS
        assert pid(crew.servers[1]) != processes[3]
    for process in processes:
        assert gone(process)


def gone(process: int) -> bool:
    """Whether it ends within ten seconds."""
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


def test_a_server_that_is_silent_is_started_anew() -> None:
    with Crew(ParameterServer(workers=1, keep_every=3, stall_s=5)) as crew:
        stopped: list[int] = []

        def stop() -> None:
            stopped.append(pid(crew.servers[0]))
            os.kill(stopped[0], signal.SIGSTOP)

        module, _ = disturbed(crew, stop)
        assert accuracy(module) > accuracy(network()) + 0.2
        assert len(ray.get(crew.servers[0].applied.remote())[0]) == STEPS
        assert gone(stopped[0])


def test_a_killed_producer_costs_no_row_and_memory_is_bounded() -> None:
    with Crew(Dataflow(producers=2, queue_batches=3)) as crew:
        process = pid(crew.producers[0])
        module, _ = disturbed(crew, lambda: os.kill(process, signal.SIGKILL))
        assert accuracy(module) > accuracy(network()) + 0.2
        assert applied(crew) == STEPS
        fullness = ray.get(crew.table.fullness.remote())
        assert fullness.batches <= 3
        assert fullness.put == STEPS


def test_a_members_error_is_told_as_by_one_process() -> None:
    digits = clean(Digits().load(None), "error")[0]
    parts = split(digits.rows, SplitSpec(), 0, digits.classes)
    wild = Pca(training=Training(epochs=2, learning_rate=1e30))
    with pytest.raises(TrainingError, match=r"^member 'm': the loss is (nan|inf) in batch \d+ of epoch \d$"):
        run_with_ray(Job("m", wild, FINAL, 1, technique=ParameterServer()), digits, parts, lambda _: None)


def test_workers_that_all_die_are_told_in_one_line() -> None:
    def dying(_: Exchange, __: Observe) -> None:
        os._exit(1)

    with (
        Crew(ParameterServer(workers=1)) as crew,
        pytest.raises(ExportError, match=r"^all workers of the training died, the last of them: ") as told,
    ):
        crew.result(dying, lambda _: None)
    assert "\n" not in str(told.value)
