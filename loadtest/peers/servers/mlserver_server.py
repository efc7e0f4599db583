"""MLServer: its own REST server and a custom runtime; `--workers` 0 keeps the model in the server's process."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"
# The framework is installed in the peer's own environment only.

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from fused import INPUT, OUTPUT, Fused, arguments, settings, share, spare_ports
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, RequestOutput, ResponseOutput


class Ensemble(MLModel):
    """The ensemble as an MLServer runtime, with the tensors read by hand: its codecs cost more."""

    async def load(self) -> bool:
        files, self.row_shape, threads = settings()
        self.fused = Fused(files, threads)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One tensor in, one out."""
        (tensor,) = payload.inputs
        rows = np.array(tensor.data.root, dtype=np.float32).reshape(tensor.shape)
        found = self.fused(rows)
        wanted = payload.outputs or [RequestOutput(name=OUTPUT)]
        outputs = [
            ResponseOutput(name=one.name, shape=list(found.shape), datatype="FP32", data=found.ravel().tolist())
            for one in wanted
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)


def write(folder: Path, name: str, port: int, workers: int) -> None:
    """MLServer's two settings files."""
    grpc, metrics = spare_ports(2)
    server = {
        "host": "127.0.0.1", "http_port": port, "grpc_port": grpc, "metrics_port": metrics, "debug": False,
        "parallel_workers": workers, "metrics_dir": str(folder), "environments_dir": str(folder),
    }  # fmt: skip
    model = {
        "name": name, "implementation": "mlserver_server.Ensemble", "platform": "onnxruntime",
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1]}],
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(server), encoding="utf-8")
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")


if __name__ == "__main__":
    given = arguments()
    share(given)
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = here
    with tempfile.TemporaryDirectory() as made:
        write(Path(made), given.name, given.port, given.workers)
        from mlserver.cli import main

        sys.argv = ["mlserver", "start", made]
        main()
