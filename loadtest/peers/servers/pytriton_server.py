"""PyTriton: Triton's C++ core with the ensemble as a Python callable, dynamic batching of at most 64 rows."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"
# The framework is installed in the peer's own environment only.

from __future__ import annotations

import logging
import os
import sysconfig

# Triton's Python backend links libpython: it must find this interpreter's, not the system's of another patch level.
os.environ["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")

import numpy as np
from fused import INPUT, OUTPUT, Fused, Rows, arguments, shape_of, spare_ports
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

CLASSES = 10
MAX_BATCH = 64

if __name__ == "__main__":
    given = arguments()
    logging.basicConfig(level=logging.WARNING)

    def instance() -> object:
        """One execution instance with sessions of its own."""
        fused = Fused(given.files, given.threads)

        @batch
        def infer(**inputs: Rows) -> dict[str, Rows]:
            return {OUTPUT: fused(inputs[INPUT])}

        return infer

    grpc, metrics = spare_ports(2)
    config = TritonConfig(
        http_address="127.0.0.1", http_port=given.port, grpc_address="127.0.0.1", grpc_port=grpc,
        metrics_address="127.0.0.1", metrics_port=metrics, log_verbose=0,
    )  # fmt: skip
    with Triton(config=config) as triton:
        triton.bind(
            model_name=given.name,
            infer_func=[instance() for _ in range(given.workers)],
            inputs=[Tensor(name=INPUT, dtype=np.float32, shape=shape_of(given.shape))],
            outputs=[Tensor(name=OUTPUT, dtype=np.float32, shape=(CLASSES,))],
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()
