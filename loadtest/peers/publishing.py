"""Publishes an ensemble for Tutti with Tutti's own command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.peers.ensembles import CLASSES, Ensemble
from loadtest.peers.errors import PeerError

LIMIT_S = 300


def publish(ensemble: Ensemble, repository: Path, more: Sequence[str] = (), checkout: Path | None = None) -> None:
    """The ensemble as the next version in `repository`, its mean as the fusion; raises PeerError.

    `more`: further arguments of `tutti publish`. `checkout`: the folder of another checkout whose command it is.
    """
    command = [sys.executable, "-m", "tutti", "publish", ensemble.name, "--repository", str(repository)]
    command += ["--fusion", "mean"]
    command += ["--classes", ",".join(f"c{number}" for number in range(CLASSES))]
    for member, path in ensemble.members.items():
        command += ["--member", f"{member}={path}"]
    command += more
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=checkout)  # noqa: S603
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise PeerError(f"tutti publish {ensemble.name} ended with status {done.returncode}: {said[-1]}")
