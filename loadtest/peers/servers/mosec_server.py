"""mosec: Rust front end, `--workers` Python processes behind it, batches of at most 64 requests.

A wait of 1 ms: mosec's default of 10 ms only lengthens a lone request.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"
# The framework is installed in the peer's own environment only.

from __future__ import annotations

import sys

import msgspec
import numpy as np
from fused import Fused, Rows, arguments, settings, share
from mosec import Server, Worker

MAX_BATCH = 64
MAX_WAIT_MS = 1


class Json(Worker):
    """Lists in JSON, one request an item of the batch."""

    def __init__(self) -> None:
        super().__init__()
        files, self.shape, threads = settings()
        self.fused = Fused(files, threads)

    def deserialize(self, data: bytes) -> Rows:
        return np.array(msgspec.json.decode(data)["instances"], dtype=np.float32)

    def serialize(self, data: Rows) -> bytes:
        return msgspec.json.encode({"predictions": data.tolist()})

    def forward(self, data: list[Rows]) -> list[Rows]:
        """One run for all requests of the batch, split by their rows."""
        ends = np.cumsum([len(rows) for rows in data])
        return np.split(self.fused(np.concatenate(data)), ends[:-1])


class Binary(Json):
    """float32 bytes."""

    resp_mime_type = "application/octet-stream"

    def deserialize(self, data: bytes) -> Rows:
        return np.frombuffer(data, dtype="<f4").reshape(-1, *self.shape)

    def serialize(self, data: Rows) -> bytes:
        return data.tobytes()


if __name__ == "__main__":
    given = arguments()
    share(given)
    # mosec reads its own options from the command line.
    sys.argv[1:] = [
        "--address", "127.0.0.1", "--port", str(given.port), "--log-level", "warning",
        "--timeout", "60000", "--max-request-size", str(1 << 28),
    ]  # fmt: skip
    server = Server()
    for worker, route in ((Json, "/predict"), (Binary, "/predict/binary")):
        server.append_worker(
            worker, num=given.workers, max_batch_size=MAX_BATCH, max_wait_time=MAX_WAIT_MS, route=route
        )
    server.run()
