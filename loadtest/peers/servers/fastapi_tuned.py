"""FastAPI tuned by hand: raw body, orjson, one thread a session, no thread hop, no access log."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"
# The framework is installed in the peer's own environment only.

from __future__ import annotations

import gc

import fastapi
import numpy as np
import orjson
import uvicorn
from fused import Fused, arguments, settings, share

app = fastapi.FastAPI(openapi_url=None)
fused: Fused
shape: tuple[int, ...]


@app.post("/predict")
async def predict(request: fastapi.Request) -> fastapi.Response:
    """Lists in JSON."""
    rows = np.array(orjson.loads(await request.body())["instances"], dtype=np.float32)
    body = orjson.dumps({"predictions": fused(rows)}, option=orjson.OPT_SERIALIZE_NUMPY)
    return fastapi.Response(body, media_type="application/json")


@app.post("/predict/binary")
async def predict_binary(request: fastapi.Request) -> fastapi.Response:
    """float32 bytes."""
    rows = np.frombuffer(await request.body(), dtype="<f4").reshape(-1, *shape)
    return fastapi.Response(fused(rows).tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    given = arguments()
    share(given)
    uvicorn.run(
        "fastapi_tuned:app", host="127.0.0.1", port=given.port, workers=given.workers,
        loop="uvloop", http="httptools", log_level="warning", access_log=False,
    )  # fmt: skip
else:  # imported by uvicorn, in this process or in a worker
    files, shape, threads = settings()
    fused = Fused(files, threads)
    gc.collect()
    gc.freeze()
