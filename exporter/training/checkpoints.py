"""Snapshots of running trainings in the work folder, by the job's digest, for `--resume`."""

from __future__ import annotations

import os
import pickle
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch

from exporter.optimisation.checkpoints import Snapshot

EVERY_S = 3.0
"""Seconds of training between two snapshots at least: what is lost when a training is ended."""
MOST = 0.02
"""And of the time the share that they may take."""
_GENERATIONS = 2
"""Workers that are ended while they keep an epoch have at least the one before in common."""


class CheckpointFiles:
    """One network's snapshots by one worker: files `NETWORK-RANK-EPOCH.pt` of the job's folder."""

    def __init__(self, folder: Path, network: int, rank: int = 0, every_s: float = EVERY_S, most: float = MOST) -> None:
        self._folder, self._name, self._every_s, self._most = folder, f"{network}-{rank}", every_s, most
        self._next = time.monotonic() + every_s

    def found(self) -> Mapping[int, Snapshot]:
        """The newest ones by the number of epochs done; what is damaged is not there."""
        loaded = {int(path.stem.rpartition("-")[2]): _loaded(path) for path in self._files()}
        return {epoch: snapshot for epoch, snapshot in loaded.items() if snapshot is not None}

    def due(self) -> bool:
        """Whether enough time has gone by since the last."""
        return time.monotonic() >= self._next

    def keep(self, epoch: int, snapshot: Snapshot) -> None:
        """A file that appears whole; older ones go. Where there is no room nothing is kept."""
        started = time.monotonic()
        target = self._folder / f"{self._name}-{epoch}.pt"
        partial = target.with_suffix(f".{os.getpid()}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            torch.save(snapshot, partial)
            partial.replace(target)
            for path in self._files()[:-_GENERATIONS]:
                path.unlink(missing_ok=True)
        except (OSError, RuntimeError):  # torch's own for a full disk
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        ended = time.monotonic()
        self._next = ended + max(self._every_s, (ended - started) * (1 / self._most - 1))

    def _files(self) -> list[Path]:
        """The oldest first."""
        return sorted(self._folder.glob(f"{self._name}-*.pt"), key=lambda path: int(path.stem.rpartition("-")[2]))


def _loaded(path: Path) -> Snapshot | None:
    try:
        found: Snapshot = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile):
        return None
    return found
