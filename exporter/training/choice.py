"""The engine that a call asks for, and what recipes may ask of it."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.errors import ExportError
from exporter.gate.inference import cores
from exporter.optimisation.spec import Dataflow, Mode, ParameterServer
from exporter.recipe.options import Options
from exporter.training.engines.engine import Engine, Task
from exporter.training.engines.environment import Place, place
from exporter.training.engines.hardware import require_hardware


def engine_of(options: Options, technique: Mode) -> Engine:
    """Not started yet. Raises ExportError where the call, the recipe and this machine do not go together."""
    require_hardware(options, technique)
    if options.address is not None and options.engine != "ray":
        raise ExportError(
            f"--address {options.address} is of a Ray cluster, got --engine {options.engine}: expected --engine ray"
        )
    if isinstance(technique, ParameterServer | Dataflow) and options.engine != "ray":
        raise ExportError(
            f"training.mode is {technique.mode!r}, whose workers are Ray's, got --engine {options.engine}: "
            "expected --engine ray"
        )
    if (own := place()) is not None:
        return _joined(own, options)
    if options.engine == "ray":
        from exporter.training.cluster.engine import RayEngine

        return RayEngine(0 if options.address and not options.workers else _workers(options), options.address)
    if options.engine == "torchrun":
        from exporter.training.engines.torchrun import Torchrun

        return Torchrun(_workers(options))
    from exporter.training.engines.local import Local

    return Local(_workers(options))


def _joined(own: Place, options: Options) -> Engine:
    """All ranks run this command. Raises ExportError where they would not do so as one."""
    if options.engine != "torchrun":
        raise ExportError(
            f"this command runs under torchrun, as rank {own.rank} of {own.ranks}, got --engine {options.engine}: "
            "expected --engine torchrun"
        )
    if options.work is None:
        raise ExportError("--work is missing: ranks that torchrun began know of each other by a folder that all see")
    from exporter.training.engines.joined import Joined

    return Joined(own)


def check_gangs(tasks: Sequence[Task]) -> None:
    """Raise ExportError naming a task with more workers than rows."""
    for task in tasks:
        if task.ranks > task.rows:
            raise ExportError(
                f"training.workers is {task.ranks}, {task.title} has {task.rows} rows to train on, "
                "expected a row for each worker"
            )


def _workers(options: Options) -> int:
    if options.workers:
        return options.workers
    return cores() if options.device == "cpu" else 1
