"""FastAPI + onnxruntime as most people write it: a pydantic body, a plain `def`, lists in and out."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"
# The framework is installed in the peer's own environment only.

from __future__ import annotations

from typing import Any

import fastapi
import numpy as np
import pydantic
import uvicorn
from fused import Fused, arguments, shape_of

given = arguments()
fused = Fused(given.files, threads=0)
app = fastapi.FastAPI()

Row: Any = float
for _ in shape_of(given.shape):
    Row = list[Row]


class Body(pydantic.BaseModel):
    """The rows."""

    instances: list[Row]


class Answer(pydantic.BaseModel):
    """Their probabilities."""

    predictions: list[list[float]]


def predict(body: Body) -> Answer:
    """A plain function: FastAPI runs it on its thread pool."""
    rows = np.array(body.instances, dtype=np.float32)
    return Answer(predictions=fused(rows).tolist())


# The annotations above are strings, which `Row` as a local name of this module resolves.
app.post("/predict")(predict)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="warning")
