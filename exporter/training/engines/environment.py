"""What workers find in their environment, and what this process finds in its own."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

# Read by libraries when they load, so workers must be born with them: one thread of BLAS and OpenMP each, and errors
# alone of torch: its DistributedDataParallel warns of every network that uses all of its parameters.
OF_WORKERS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}


def loopback() -> dict[str, str]:
    """gloo's network interface, unless the user has named one: workers of one machine need no other."""
    if "GLOO_SOCKET_IFNAME" in os.environ:
        return {}
    return {"GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"}


@dataclass(frozen=True)
class Place:
    """This process among those that a torchrun began, of which each runs this command."""

    rank: int
    ranks: int
    run: str
    restart: int

    @property
    def drives(self) -> bool:
        """Whether it is the one that fuses and publishes; the others train."""
        return self.rank == 0


def place() -> Place | None:
    """None where no torchrun began this command."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    return Place(
        rank=int(os.environ["RANK"]),
        ranks=int(os.environ["WORLD_SIZE"]),
        run=os.environ["TORCHELASTIC_RUN_ID"],
        restart=int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")),
    )


def begun_anew() -> bool:
    """Whether a torchrun has begun this command once more, after a rank died: what is finished stays finished."""
    own = place()
    return own is not None and own.restart > 0
