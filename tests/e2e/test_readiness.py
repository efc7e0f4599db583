"""Ready means serving: `/v2/health/ready`, the log, and what counts."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from tests.e2e.process import ServerProcess, serving
from tests.graphs import coded
from tests.repositories import publish

SOON = ("--poll-interval-s", "0.1")


def good(root: Path, name: str = "coded", version: int | None = None) -> None:
    publish(root, name, {"a": coded(1), "b": coded(1)}, version=version)


def bad(root: Path, name: str = "coded", version: int | None = None) -> None:
    publish(root, name, {"a": coded(1), "b": coded(1)}, version=version, files={"members/a.onnx": b"half a copy"})


def readiness(server: ServerProcess) -> tuple[int, str]:
    status, _, content = server.request("GET", "/v2/health/ready")
    return status, json.loads(content).get("reason", "")


def status_of(server: ServerProcess, name: str) -> int:
    return server.request("GET", f"/v2/models/{name}/ready")[0]


def wait_status(server: ServerProcess, path: str, wanted: int) -> None:
    deadline = time.monotonic() + 30
    while (found := server.request("GET", path)[0]) != wanted:
        assert time.monotonic() < deadline, f"{path} is {found}, expected {wanted}\n" + "".join(server.log[-9:])
        time.sleep(0.02)


@pytest.mark.parametrize("fronts", ["0", "1"])
def test_a_server_whose_only_version_was_refused_is_not_ready(tmp_path: Path, fronts: str) -> None:
    bad(tmp_path)
    with serving(tmp_path, "--fronts", fronts, *SOON) as server:
        status, reason = readiness(server)
        assert status == 503
        assert "'coded' has no version that serves" in reason
        assert status_of(server, "coded") == 503
        assert not any(" ready: no ensemble yet" in line for line in server.log)
        server.wait_for_log(r"not ready: ensemble 'coded' has no version that serves: .*a\.onnx")
        good(tmp_path)
        server.wait_for_log(r"info +ready: coded/2")
        assert readiness(server) == (200, "")


def test_one_refused_ensemble_among_others_is_enough_unless_only_others_count(tmp_path: Path) -> None:
    good(tmp_path, "one")
    bad(tmp_path, "two")
    with serving(tmp_path) as server:
        assert readiness(server)[0] == 503
        assert status_of(server, "one") == 200
    with serving(tmp_path, "--ready-ensembles", "one") as server:
        assert readiness(server) == (200, "")
    with serving(tmp_path, environ={"TUTTI_READY_ENSEMBLES": "one, three"}) as server:
        status, reason = readiness(server)
        assert (status, "'three' of `ready_ensembles` is not in the repository" in reason) == (503, True)


def test_a_refused_version_behind_one_that_serves_leaves_the_server_ready(tmp_path: Path) -> None:
    good(tmp_path)
    with serving(tmp_path) as server:
        bad(tmp_path)
        server.wait_for_log("version 2 is refused")
        assert readiness(server) == (200, "")


def test_an_empty_repository_is_not_ready_unless_told(tmp_path: Path) -> None:
    with serving(tmp_path, *SOON) as server:
        status, reason = readiness(server)
        assert (status, "holds no ensemble yet" in reason) == (503, True)
        good(tmp_path)
        server.wait_for_log(r"info +ready: coded/1")
        assert readiness(server)[0] == 200
    shutil.rmtree(tmp_path / "coded")
    with serving(tmp_path, "--ready-when-empty", "true") as server:
        assert readiness(server) == (200, "")


def test_an_ensemble_that_was_unloaded_on_purpose_does_not_count(tmp_path: Path) -> None:
    good(tmp_path, "one")
    good(tmp_path, "two")
    with serving(tmp_path) as server:
        assert server.control("/v2/repository/models/one/unload")[0] == 200
        assert readiness(server) == (200, "")
        assert server.control("/v2/repository/models/two/unload")[0] == 200
        status, reason = readiness(server)
        assert (status, "unloaded through the control API: one, two" in reason) == (503, True)


def test_an_ensemble_that_is_gone_is_unknown_and_leaves_nothing(tmp_path: Path) -> None:
    good(tmp_path, "kept")
    good(tmp_path, "away")
    bad(tmp_path, "never")
    with serving(tmp_path, *SOON) as server:
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}
        server.json("POST", "/v2/models/away/infer", body)
        shutil.rmtree(tmp_path / "away" / "1")
        shutil.rmtree(tmp_path / "never")
        for name in ("away", "never"):
            server.wait_for_log(f"'{name}' is gone from the repository")
            assert server.request("POST", f"/v2/models/{name}/infer", json.dumps(body))[0] == 404
            assert status_of(server, name) == 404
            assert server.control(f"/v2/repository/models/{name}/load")[0] == 404
        assert {entry["name"] for entry in server.json("POST", "/v2/repository/index")} == {"kept"}
        lines = server.request("GET", "/metrics")[2].decode()
        assert 'ensemble="kept"' in lines
        assert 'ensemble="away"' not in lines
        assert 'ensemble="never"' not in lines
        assert readiness(server) == (200, "")
        good(tmp_path, "away")
        wait_status(server, "/v2/models/away/ready", 200)
        server.json("POST", "/v2/models/away/infer", body)


def test_an_unloaded_ensemble_that_is_away_for_a_moment_stays_unloaded(tmp_path: Path) -> None:
    good(tmp_path, "one")
    good(tmp_path, "kept")
    with serving(tmp_path, "--poll-interval-s", "2") as server:
        assert server.control("/v2/repository/models/one/unload")[0] == 200
        os.rename(tmp_path / "one", tmp_path / ".aside")
        good(tmp_path, "new")
        wait_status(server, "/v2/models/new/ready", 200)
        os.rename(tmp_path / ".aside", tmp_path / "one")
        good(tmp_path, "newer")
        wait_status(server, "/v2/models/newer/ready", 200)
        assert status_of(server, "one") == 503


@pytest.mark.parametrize("name", ["001", "v1", "release-2", "latest"])
def test_a_folder_that_is_no_number_is_told_in_index_and_log(tmp_path: Path, name: str) -> None:
    good(tmp_path)
    os.rename(tmp_path / "coded" / "1", tmp_path / "coded" / name)
    with serving(tmp_path, *SOON) as server:
        server.wait_for_log(f"'coded': folder '{name}' is not served")
        (entry,) = server.json("POST", "/v2/repository/index")
        assert (entry["name"], entry["version"], entry["state"]) == ("coded", "", "UNAVAILABLE")
        assert f"folder '{name}' is not served" in entry["reason"]
        assert ("rename it to 1" in entry["reason"]) == (name in ("001", "v1"))
        status, reason = readiness(server)
        assert (status, f"'coded' has no version: '{name}' in it is no version's number" in reason) == (503, True)
        os.rename(tmp_path / "coded" / name, tmp_path / "coded" / "1")
        server.wait_for_log(r"info +ready: coded/1")
        assert [entry["version"] for entry in server.json("POST", "/v2/repository/index")] == ["1"]
        assert sum("is not served" in line for line in server.log) == 1


@pytest.mark.parametrize("below", ["coded", "coded/1"])
def test_a_repository_one_level_too_deep_is_told_with_the_folder_to_take(
    tmp_path: Path, below: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from server.__main__ import main

    good(tmp_path / "models")
    assert main(["--repository", str(tmp_path / "models" / below), "--port", "0"]) == 2
    told = capsys.readouterr().err
    assert f"take the folder above: '{tmp_path / 'models'}'" in told
    assert told.count("\n") == 1


def test_a_folder_above_the_repository_is_told_with_the_folder_to_take(tmp_path: Path) -> None:
    good(tmp_path / "models")
    with serving(tmp_path, *SOON) as server:
        server.wait_for_log(f"holds no ensemble, but '{tmp_path / 'models'}' does: did you mean that folder?")
        assert readiness(server)[0] == 503
