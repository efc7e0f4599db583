"""A served number that comes again with other content: what is published is what answers, and the log says so."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from model_repo import Repository
from model_repo.store.routes import promote, set_label
from tests.e2e.process import ServerProcess, serving
from tests.graphs import coded
from tests.repositories import publish

DEADLINE_S = 30.0


def publish_factor(root: Path, factor: int, version: int = 1) -> None:
    """Version `version` of `coded`: it answers `x · factor`."""
    publish(root, "coded", {"a": coded(factor), "b": coded(factor)}, version=version)


def factor(server: ServerProcess, path: str = "/v2/models/coded") -> float:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}
    value: float = server.json("POST", f"{path}/infer", body)["outputs"][0]["data"][0]
    return value


def wait_factor(server: ServerProcess, wanted: float, path: str = "/v2/models/coded") -> None:
    deadline = time.monotonic() + DEADLINE_S
    while (found := factor(server, path)) != wanted:
        assert time.monotonic() < deadline, f"answers by {found}, expected {wanted}\n" + "".join(server.log[-9:])
        time.sleep(0.02)


def entry(server: ServerProcess, version: str = "1") -> dict[str, Any]:
    index = server.json("POST", "/v2/repository/index")
    found: dict[str, Any] = next(each for each in index if each["version"] == version)
    return found


def other_content(root: Path, factor: int) -> Path:
    """Version 1 with another factor, in a repository beside; gives its folder."""
    publish_factor(root / "beside", factor)
    return root / "beside" / "coded" / "1"


@pytest.mark.parametrize("fronts", ["0", "1"])
def test_a_version_removed_and_published_again_under_its_number_is_served(tmp_path: Path, fronts: str) -> None:
    root = tmp_path / "models"
    publish_factor(root, 2)
    with serving(root, "--fronts", fronts) as server:
        assert factor(server) == 2
        before = server.json("GET", "/v2/models/coded")["ensemble"]["digest"]
        assert entry(server)["digest"] == before
        shutil.rmtree(root / "coded" / "1")
        publish_factor(root, 3)
        wait_factor(server, 3)
        server.wait_for_log("'coded' version 1 has come again with other content")
        server.wait_for_log(rf"'coded' is served by version 1 of digest \w+, before by digest {before[:12]}")
        server.wait_for_log(rf"'coded' version 1 is freed \(digest {before[:12]}\)")
        after = server.json("GET", "/v2/models/coded")["ensemble"]["digest"]
        assert after == Repository(root).digest("coded", 1) != before
        assert entry(server) | {"reason": "", "digest": after, "state": "READY"} == entry(server)
        assert server.metric("tutti_swap_total", ensemble="coded", outcome="ok") == 2
        factor(server)
        assert server.metric("tutti_compute_seconds_count", ensemble="coded", version="1") >= 2


def test_files_copied_over_a_served_version_one_by_one_are_served_once_all_fit(tmp_path: Path) -> None:
    root = tmp_path / "models"
    publish_factor(root, 2)
    source, target = other_content(tmp_path, 3), root / "coded" / "1"
    with serving(root, "--poll-interval-s", "0.2") as server:
        shutil.copy2(source / "ensemble.json", target / "ensemble.json")
        server.wait_for_log(r"'coded' version 1 is refused \(integrity\).*version 1 of digest \w+ goes on serving")
        assert factor(server) == 2
        told = entry(server)
        assert told["state"] == "READY"
        assert "its new content is refused" in told["reason"]
        status, content = server.control("/v2/repository/models/coded/load")
        assert (status, b"sha256" in content or b"bytes" in content) == (409, True), content
        for file in ("golden.npz", "members/a.onnx", "members/b.onnx"):
            assert factor(server) == 2
            shutil.copy2(source / file, target / file)
        wait_factor(server, 3)
        assert entry(server)["reason"] == ""


def test_content_that_is_put_back_ends_the_complaint(tmp_path: Path) -> None:
    root = tmp_path / "models"
    publish_factor(root, 2)
    manifest = root / "coded" / "1" / "ensemble.json"
    kept = manifest.read_bytes()
    with serving(root, "--poll-interval-s", "0.2") as server:
        manifest.write_bytes(kept[: len(kept) // 2])
        server.wait_for_log("version 1 is refused")
        assert entry(server)["reason"] != ""
        manifest.write_bytes(kept)
        server.wait_for_log("'coded' version 1 has the content again that serves")
        assert entry(server)["reason"] == ""
        assert factor(server) == 2
        assert sum("is ready in" in line for line in server.log) == 1


def test_a_manifest_that_was_only_touched_loads_nothing(tmp_path: Path) -> None:
    root = tmp_path / "models"
    publish_factor(root, 2)
    manifest = root / "coded" / "1" / "ensemble.json"
    with serving(root, "--poll-interval-s", "0.1") as server:
        os.utime(manifest, (1, 1))
        manifest.write_bytes(manifest.read_bytes())
        assert server.control("/v2/repository/models/coded/load")[0] == 200
        assert sum("is ready in" in line for line in server.log) == 1
        assert factor(server) == 2


def test_load_brings_other_content_that_nobody_has_told_of(tmp_path: Path) -> None:
    root = tmp_path / "models"
    publish_factor(root, 2)
    source, target = other_content(tmp_path, 3), root / "coded" / "1"
    with serving(root, "--poll-interval-s", "3600") as server:
        shutil.rmtree(target)
        shutil.copytree(source, target)
        assert server.control("/v2/repository/models/coded/load") == (200, b"{}")
        assert factor(server) == 3


def test_a_labelled_version_that_comes_again_is_replaced_too(tmp_path: Path) -> None:
    root = tmp_path / "models"
    publish_factor(root, 2, version=1)
    publish_factor(root, 5, version=2)
    repository = Repository(root)
    repository.change_routes("coded", lambda routes, versions: promote(routes, 2, versions))
    repository.change_routes("coded", lambda routes, versions: set_label(routes, "edge", 1, versions))
    with serving(root) as server:
        assert (factor(server), factor(server, "/v2/models/coded/versions/1")) == (5, 2)
        shutil.rmtree(root / "coded" / "1")
        publish_factor(root, 3, version=1)
        wait_factor(server, 3, "/v2/models/coded/versions/1")
        answer = server.json("POST", "/v1/models/coded/labels/edge:predict", {"instances": [[1.0]]})
        assert json.dumps(answer).count("3.0") == 1
        assert factor(server) == 5


def test_a_link_in_place_of_a_served_version_is_told_and_a_folder_again_is_served(tmp_path: Path) -> None:
    root = tmp_path / "models"
    publish_factor(root, 2)
    other, served = other_content(tmp_path, 3), root / "coded" / "1"
    with serving(root, "--poll-interval-s", "0.2") as server:
        shutil.rmtree(served)
        served.symlink_to(other)
        server.wait_for_log(r"'coded' version 1 is refused \(integrity\).*symbolic link.*goes on serving")
        assert factor(server) == 2
        assert "symbolic link" in entry(server)["reason"]
        served.unlink()
        shutil.copytree(other, served)
        wait_factor(server, 3)


def test_load_tells_of_a_member_that_changed_under_its_manifest(tmp_path: Path) -> None:
    root = tmp_path / "models"
    publish_factor(root, 2)
    member = root / "coded" / "1" / "members" / "a.onnx"
    with serving(root, "--poll-interval-s", "0.2") as server:
        assert server.control("/v2/repository/models/coded/load")[0] == 200
        content = member.read_bytes()
        member.write_bytes(content[:-1] + b"?")
        status, told = server.control("/v2/repository/models/coded/load")
        assert (status, b"a.onnx" in told, b"goes on serving" in told) == (409, True, True), told
        assert factor(server) == 2
        member.write_bytes(content)
        assert server.control("/v2/repository/models/coded/load")[0] == 200
