"""torch's elastic agent, for as long as the export lives: `launcher FOLDER RANKS RESTARTS`.

A process of its own: the agent takes signals for itself, and waits where nothing else can be done.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from exporter.training.engines.rank import leave_when_dead
from exporter.training.engines.run_folder import ALIVE

GAVE_UP = 3
"""Exit status where ranks died more often than they may."""


def main(path: str, ranks: int, restarts: int) -> int:
    """Ranks of this machine, begun anew as often as told when one dies. No port is open: they meet by a file."""
    folder = Path(path)
    threading.Thread(target=leave_when_dead, args=(folder / ALIVE,), name="driver-watch", daemon=True).start()
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=ranks, max_restarts=restarts, run_id=folder.name,
        rdzv_backend="c10d", rdzv_endpoint=str(folder / "rendezvous"), rdzv_configs={"store_type": "file"},
        local_addr="127.0.0.1", monitor_interval=0.2,
    )  # fmt: skip
    try:
        elastic_launch(config, sys.executable)("-m", "exporter.training.engines.rank", path)
    except ChildFailedError:
        return GAVE_UP
    except SignalException:
        return 143
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "5")
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
