"""The ensemble as a user of a peer would write it: onnxruntime sessions one after the other, then the mean."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

INPUT = "x"
OUTPUT = "probabilities"
Rows = NDArray[np.float32]


class Fused:
    """Sessions for `files`; `threads` 0 leaves onnxruntime's default, all cores with spinning."""

    def __init__(self, files: Sequence[str], threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        if threads:
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
        self._sessions: list[Any] = [
            onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"]) for file in files
        ]

    def __call__(self, rows: Rows) -> Rows:
        """float32 [n, …] → mean probabilities float32 [n, C]; any number of threads may call at once."""
        feeds = {INPUT: rows}
        total: Rows = self._sessions[0].run(None, feeds)[0]
        for session in self._sessions[1:]:
            total = total + session.run(None, feeds)[0]
        return total / np.float32(len(self._sessions))


def arguments() -> argparse.Namespace:
    """What every peer is told: where to listen, what to serve, with how many processes and threads a session."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--shape", required=True, help="of one row, e.g. 3,32,32")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("files", nargs="+")
    return parser.parse_args()


def shape_of(text: str) -> tuple[int, ...]:
    """`3,32,32` → (3, 32, 32)."""
    return tuple(int(size) for size in text.split(","))


def spare_ports(count: int) -> list[int]:
    """Free ports on the loopback, for frameworks that open more than the one that is loaded."""
    import socket

    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def settings() -> tuple[list[str], tuple[int, ...], int]:
    """Files, row shape and threads, for worker processes that get no arguments: from `PEER_*` variables."""
    files = os.environ["PEER_FILES"].split(os.pathsep)
    return files, shape_of(os.environ["PEER_SHAPE"]), int(os.environ["PEER_THREADS"])


def share(given: argparse.Namespace) -> None:
    """Put what `settings` reads into the environment of this process and of its children."""
    os.environ["PEER_FILES"] = os.pathsep.join(given.files)
    os.environ["PEER_SHAPE"] = given.shape
    os.environ["PEER_THREADS"] = str(given.threads)
