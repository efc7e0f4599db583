"""Ray Serve: its proxy and one replica with batches of at most 64 requests."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return,attr-defined"
# The framework is installed in the peer's own environment only.

from __future__ import annotations

import os
import signal

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import numpy as np
import orjson
import ray
from fused import Fused, Rows, arguments, shape_of
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

MAX_BATCH = 64
WAIT_S = 0.001


@serve.deployment(max_ongoing_requests=1024, ray_actor_options={"num_cpus": 1})
class Ensemble:
    """The ensemble as a Ray Serve deployment."""

    def __init__(self, files: list[str], shape: tuple[int, ...], threads: int) -> None:
        self.fused = Fused(files, threads)
        self.shape = shape

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=WAIT_S)
    async def infer(self, requests: list[Rows]) -> list[Rows]:
        """One run for all requests of the batch."""
        ends = np.cumsum([len(rows) for rows in requests])
        return np.split(self.fused(np.concatenate(requests)), ends[:-1])

    async def __call__(self, request: Request) -> Response:
        body = await request.body()
        if request.headers["content-type"] == "application/octet-stream":
            found = await self.infer(np.frombuffer(body, dtype="<f4").reshape(-1, *self.shape))
            return Response(found.tobytes(), media_type="application/octet-stream")
        found = await self.infer(np.array(orjson.loads(body)["instances"], dtype=np.float32))
        answer = orjson.dumps({"predictions": found}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(answer, media_type="application/json")


if __name__ == "__main__":
    given = arguments()
    ray.init(include_dashboard=False, log_to_driver=False, num_cpus=max(2, os.cpu_count() or 1))
    serve.start(http_options={"host": "127.0.0.1", "port": given.port, "access_log": False})
    app = Ensemble.options(num_replicas=given.workers).bind(given.files, shape_of(given.shape), given.threads)
    serve.run(app, name=given.name, route_prefix="/")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
