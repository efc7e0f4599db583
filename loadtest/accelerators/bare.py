"""onnxruntime alone on a provider: the ensemble as one graph, with the options that the runtime gives it, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from loadtest.accelerators.versions import Rows
from loadtest.peers.networks import INPUT, OUTPUT
from model_repo import Provider
from server.runtime.sessions.provider_options import native
from server.runtime.sessions.providers import select
from server.runtime.sessions.session import available_providers

import onnxruntime  # isort: skip  # behind the runtime's own import of it, which turns its telemetry off


class Bare:
    """The graph at `file` on `provider`: no padding, no buffers, one thread."""

    def __init__(self, file: Path, provider: Provider) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        providers = select((provider,), available_providers()).providers
        self._session: Any = onnxruntime.InferenceSession(
            str(file), options, providers=[(one.name, native(one)) for one in providers]
        )

    def __call__(self, rows: Rows) -> Rows:
        """Probabilities float32 [n, C], the members' mean."""
        return np.asarray(self._session.run([OUTPUT], {INPUT: rows})[0])
