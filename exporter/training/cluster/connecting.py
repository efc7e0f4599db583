"""A cluster that runs, or one begun here: loopback only, with a token, no dashboard, a bounded store, always ended."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.errors import ExportError
from exporter.training.engines.environment import OF_WORKERS, loopback

STORE_BYTES = 200_000_000
"""Of the object store of a cluster begun here; what is more is spilled to the disk. 64 MB of /dev/shm are enough."""
_REACH_S = 5.0

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # Without a dashboard there is no agent to send metrics to, and each process says so.
    "RAY_enable_metrics_collection": "0",
}
_ALONE = {
    # By this name Ray binds every port of a cluster to 127.0.0.1.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
}


@contextmanager
def connected(folder: Path, cpus: int, address: str | None) -> Iterator[int]:
    """How many processors there are. Raises ExportError where no cluster is reached or begun."""
    os.environ.update({**_QUIET, **OF_WORKERS})
    if address is None:
        os.environ.update({**_ALONE, **loopback(), "RAY_AUTH_TOKEN": secrets.token_hex(32)})
        for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH"):
            os.environ.pop(name, None)
    else:
        _require_reachable(address)
    import ray

    try:
        if address is None:
            ray.init(
                num_cpus=cpus, include_dashboard=False, object_store_memory=STORE_BYTES, log_to_driver=False,
                logging_level=logging.ERROR, _temp_dir=str(folder / "ray"), _node_ip_address="127.0.0.1",
            )  # fmt: skip
        else:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise ExportError(f"{_what(address)}: {line}") from error
    try:
        yield int(ray.cluster_resources().get("CPU", 0))
    finally:
        ray.shutdown()
        shutil.rmtree(folder / "ray", ignore_errors=True)


def _require_reachable(address: str) -> None:
    """Of HOST:PORT; Ray itself waits long for one that is not there."""
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ExportError(f"--address is {address!r}, expected HOST:PORT of a Ray cluster or auto")
    try:
        socket.create_connection((host, int(port)), _REACH_S).close()
    except (OSError, OverflowError) as error:
        raise ExportError(
            f"--address {address}: no Ray cluster is reached: {error}; `ray start --head` on that machine begins one, "
            "without --address one is begun here"
        ) from error


def _what(address: str | None) -> str:
    return "--engine ray: no cluster could be begun" if address is None else f"--address {address}: no Ray cluster"
