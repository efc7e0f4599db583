"""What the tests of loaded ensembles share: through every gate, as the server does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model_repo import Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.datatypes import Array
from server.runtime.options import PlanName
from tests.graphs import linear, softmax_linear
from tests.repositories import Spec

RANDOM = np.random.default_rng(0)
W = [RANDOM.normal(size=(3, 4)) for _ in range(4)]
WEIGHTS = [0.5, 2.0, 1.0]
TEMPERATURES = [1.0, 0.6, 2.5]
PLANS: list[PlanName] = ["sequential", "parallel", "merged"]
TWO = RuntimeOptions(cores=2)


def load(root: Path, pool: SessionPool, options: RuntimeOptions = TWO, version: int = 1) -> LoadedEnsemble:
    """Version `version` of `tiny`, opened, with its golden rows reproduced and its plan chosen."""
    ensemble = LoadedEnsemble.open(Repository(root).open("tiny", version), pool, options)
    ensemble.check_golden()
    ensemble.choose_plan()
    return ensemble


def rows_of(count: int) -> dict[str, Array]:
    """Rows for the members of `W`."""
    return {"x": RANDOM.normal(size=(count, 3)).astype(np.float32)}


def three() -> dict[str, bytes | Spec]:
    """Members of each kind: probabilities, logits, another class order."""
    return {
        "cnn": Spec(softmax_linear(W[0]), weight=WEIGHTS[0], temperature=TEMPERATURES[0]),
        "rnn": Spec(linear(W[1]), kind="logits", weight=WEIGHTS[1], temperature=TEMPERATURES[1]),
        "rf": Spec(
            softmax_linear(W[2][:, [3, 1, 0, 2]]),
            classes=("c3", "c1", "c0", "c2"),
            weight=WEIGHTS[2],
            temperature=TEMPERATURES[2],
        ),
    }
