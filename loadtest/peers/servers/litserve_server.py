"""LitServe: one API process, `--workers` inference processes, batches of at most 64, its zmq queue."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return,no-untyped-def"
# The framework is installed in the peer's own environment only.

from typing import Any

import litserve
import numpy as np
from fused import Fused, Rows, arguments, settings, share

MAX_BATCH = 64
BATCH_TIMEOUT_S = 0.001


class Ensemble(litserve.LitAPI):
    """One row a request."""

    def setup(self, device: str) -> None:
        files, _, threads = settings()
        self.fused = Fused(files, threads)

    def decode_request(self, request) -> Rows:  # LitServe gives parsed JSON where nothing is annotated
        return np.array(request["instances"], dtype=np.float32)

    def batch(self, inputs: list[Rows]) -> tuple[Rows, list[int]]:
        """All rows, and where each request's end."""
        return np.concatenate(inputs), np.cumsum([len(rows) for rows in inputs])[:-1].tolist()

    def predict(self, batch: tuple[Rows, list[int]]) -> tuple[Rows, list[int]]:
        rows, ends = batch
        return self.fused(rows), ends

    def unbatch(self, output: tuple[Rows, list[int]]) -> list[Rows]:
        found, ends = output
        return np.split(found, ends)

    def encode_response(self, output: Rows) -> dict[str, Any]:
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    given = arguments()
    share(given)
    api = Ensemble(max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT_S)
    server = litserve.LitServer(
        api, accelerator="cpu", devices=1, workers_per_device=given.workers, fast_queue=True, timeout=60
    )
    server.run(host="127.0.0.1", port=given.port, num_api_servers=1, log_level="warning", generate_client_file=False)
