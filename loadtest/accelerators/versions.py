"""Two versions of an ensemble, published in a repository of their own, and loading them on a provider."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from loadtest.peers.ensembles import CLASSES, Ensemble, write
from loadtest.peers.networks import convolutional, perceptron
from loadtest.peers.publishing import publish
from model_repo import Provider, Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool

SHAPES: dict[str, tuple[int, ...]] = {"tiny": (64,), "cnn": (3, 32, 32), "mid": (3, 224, 224)}
OUTPUTS = ("probabilities", "members")
"""What is asked for and compared."""

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Versions:
    """Versions 1 and 2 of one ensemble in `repository`: the same networks, other weights."""

    repository: Path
    ensembles: tuple[Ensemble, Ensemble]

    @property
    def name(self) -> str:
        return self.ensembles[0].name

    def rows(self, count: int, seed: int = 0) -> Rows:
        """float32 [count, *shape], uniform in [0, 1)."""
        return self.ensembles[0].rows(count, seed)

    @contextlib.contextmanager
    def loaded(self, number: int, pool: SessionPool, providers: Sequence[Provider] = ()) -> Iterator[LoadedEnsemble]:
        """A version as the server loads it, closed behind; no providers: the CPU. Raises LoadError, never falls back.

        Its golden rows were computed on the CPU, so reproducing them is the first comparison.
        """
        ensemble = open_version(self, number, pool, providers)
        try:
            yield ensemble
        finally:
            ensemble.close()


def open_version(
    versions: Versions, number: int, pool: SessionPool, providers: Sequence[Provider] = ()
) -> LoadedEnsemble:
    """The loaded version, for the caller to close. Raises LoadError, and then nothing stays loaded."""
    options = RuntimeOptions(cores=len(os.sched_getaffinity(0)), providers=tuple(providers), policy="strict")
    version = Repository(versions.repository).open(versions.name, number)
    ensemble = LoadedEnsemble.open(version, pool, options)
    try:
        ensemble.check_golden()
        ensemble.choose_plan()
    except BaseException:
        ensemble.close()
        raise
    return ensemble


def published(name: str, folder: Path) -> Versions:
    """Both versions of `tiny`, `cnn` or `mid`, written and published under `folder`; raises PeerError."""
    repository = folder / "models"
    first, second = (write(name, SHAPES[name], _members(name, seed), folder / f"{name}{seed}") for seed in (1, 2))
    for ensemble in (first, second):
        publish(ensemble, repository)
    return Versions(repository, (first, second))


def _members(name: str, version: int) -> dict[str, ModelProto]:
    return {f"{name}{number}": _member(name, number, 10 * version + number) for number in range(3)}


def _member(name: str, number: int, seed: int) -> ModelProto:
    if name == "tiny":
        return perceptron(64, ((), (64,), (128, 32))[number], CLASSES, seed)
    width = 24 + 8 * number
    if name == "cnn":
        return convolutional(32, (width, width, 48, 64), (1, 1, 2, 2), CLASSES, seed)
    return convolutional(224, (width, 48, 64, 96, 128), (2, 2, 1, 2, 2), CLASSES, seed)
