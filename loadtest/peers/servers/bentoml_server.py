"""BentoML: one worker with adaptive batching of at most 64 rows."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"
# The framework is installed in the peer's own environment only.

from __future__ import annotations

import os
import sys
from pathlib import Path

import bentoml
import numpy as np
from fused import Fused, Rows, arguments, settings, share


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 2048}, metrics={"enabled": False})
class Ensemble:
    """The ensemble as a BentoML service."""

    def __init__(self) -> None:
        files, self.shape, threads = settings()
        self.fused = Fused(files, threads)

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=60_000)
    def predict(self, x: np.ndarray) -> np.ndarray:
        rows: Rows = np.asarray(x, dtype=np.float32)
        return self.fused(rows)


if __name__ == "__main__":
    given = arguments()
    share(given)
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    here = str(Path(__file__).parent)
    os.execv(  # noqa: S606 - the service must be importable by its workers
        sys.executable,
        [
            sys.executable, "-m", "bentoml", "serve", "bentoml_server:Ensemble", "--working-dir", here,
            "--host", "127.0.0.1", "--port", str(given.port),
        ],
    )  # fmt: skip
