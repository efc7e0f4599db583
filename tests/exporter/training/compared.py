"""The asynchronous techniques on the digits, by actors of a cluster of this machine: the figures of docs/training.md.

    python -m tests.exporter.training.compared SEEDS [MEMBER] > figures.jsonl

The others, and one process alone: `tests.exporter.optimisation.compared`, which says what the lines mean.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import partial

import ray

from exporter.optimisation.loop import Exchange
from exporter.optimisation.spec import Dataflow, Mode, ParameterServer
from exporter.training.asynchronous.actors import Asynchronous, Observe
from exporter.training.asynchronous.crew import Crew
from exporter.training.jobs import run_job
from tests.exporter.optimisation.compared import Setting, Timed

TECHNIQUES: dict[str, Asynchronous] = {
    "parameter_server, 2 workers": ParameterServer(),
    "dataflow, 1 producer, 1 trainer": Dataflow(),
    "dataflow, 1 producer, 2 trainers": Dataflow(workers=2),
    "parameter_server, 2 workers, 2 servers": ParameterServer(servers=2),
}


def lines(
    exchange: Exchange, _: Observe, *, name: str, technique: Mode, seeds: int, member: str
) -> list[dict[str, object]]:
    """What a worker does: one seed after another, each a network of the same training."""
    found = []
    for seed in range(seeds):
        setting = Setting.of(member, seed)
        run = Timed(exchange)
        made = run_job(setting.job(technique), setting.dataset, setting.split, run)
        found.append(setting.figures(name, made, run.seconds))
    return found


def main() -> None:
    """All techniques, one after another."""
    seeds, member = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "cnn"
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        ray.init(
            num_cpus=2, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=False,
            logging_level="ERROR", _temp_dir=folder, _node_ip_address="127.0.0.1",
        )  # fmt: skip
        for name, technique in TECHNIQUES.items():
            with Crew(technique) as crew:
                work = partial(lines, name=name, technique=technique, seeds=seeds, member=member)
                for line in crew.result(work, lambda _: None):
                    print(json.dumps(line), flush=True)
                figures = [ray.get(server.figures.remote()) for server in crew.servers]
                print(json.dumps({"technique": name, "servers": str(figures)}), flush=True)
        ray.shutdown()


if __name__ == "__main__":
    main()
