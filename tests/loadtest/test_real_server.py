"""The load generator and the server, each in a process of its own, with a real repository between them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from model_repo import Batching
from tests.e2e.process import serving
from tests.graphs import softmax_linear
from tests.repositories import publish
from tutti import main


@pytest.mark.parametrize("protocol", ["json", "binary"])
def test_swaps_under_load_fail_no_request(tmp_path: Path, protocol: str, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    publish(tmp_path, "digits", {name: softmax_linear(rng.normal(size=(64, 10))) for name in ("cnn", "rf")})
    with serving(tmp_path) as server:
        swap = ["--scenario", "swap", "--swaps", "2", "--repository", str(tmp_path), "--duration", "1.5"]
        load = ["--rate", "100", "--rows", "3", "--protocol", protocol, "--warmup", "0.2", "--json"]
        status = main(["loadtest", f"http://{server.address}", *swap, *load])
    report = json.loads(capsys.readouterr().out)
    assert [problem for problem in report["problems"] if problem != report["client"]["verdict"]] == []
    assert status == (1 if report["client"]["saturated"] else 0)
    assert list(report["outcomes"]) == ["ok"]
    assert list(report["versions"]) == ["1", "2", "3"]
    assert [swap["version"] for swap in report["swaps"]] == [2, 3]
    assert report["regressions"] == []


def test_a_server_that_runs_out_of_queue_is_seen_to_refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = {"one": softmax_linear(np.eye(64, 10, dtype=np.float32))}
    publish(tmp_path, "digits", members, batching=Batching(max_batch_rows=1, max_queue_rows=8))
    with serving(tmp_path) as server:
        load = ["--connections", "64", "--rows", "8", "--duration", "1", "--warmup", "0", "--json"]
        status = main(["loadtest", f"http://{server.address}", *load])
    report = json.loads(capsys.readouterr().out)
    assert status == 1
    assert report["outcomes"]["refused"]["count"] > 0
    assert report["outcomes"]["ok"]["count"] > 0
    assert set(report["outcomes"]) == {"ok", "refused"}
    assert "queue" in report["examples"]["refused"]
