"""The exchange that a recipe's technique asks for."""

from __future__ import annotations

from exporter.optimisation.exchanges.data_parallel import DataParallelExchange
from exporter.optimisation.exchanges.federated import FederatedExchange
from exporter.optimisation.exchanges.gang import gang
from exporter.optimisation.exchanges.local_sgd import LocalSgdExchange
from exporter.optimisation.loop import Exchange
from exporter.optimisation.spec import DataParallel, Federated, LocalSgd


def exchange_for(technique: DataParallel | LocalSgd) -> Exchange:
    """One for each job, in an initialised process group of `technique.workers` processes; called by all of them.

    Raises TrainingError.
    """
    workers = gang(technique.stall_s)
    if isinstance(technique, DataParallel):
        return DataParallelExchange(workers)
    if isinstance(technique, Federated):
        return FederatedExchange(workers, technique)
    return LocalSgdExchange(workers, technique)
