"""A version that may not serve leaves the old one serving, and the index, the log and a metric say why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_repo import Execution, Provider
from tests.e2e.process import ServerProcess, serving
from tests.graphs import coded, linear
from tests.repositories import Spec, publish

Damage = Callable[[Path], None]


def good(root: Path, version: int | None = None) -> None:
    publish(root, "coded", {"a": coded(1), "b": linear([[1.0]], [2.0])}, version=version)


def bad_digest(root: Path) -> None:
    publish(root, "coded", {"a": coded(2), "b": coded(2)}, files={"members/a.onnx": coded(3)})


def truncated_onnx(root: Path) -> None:
    whole = coded(2)
    publish(root, "coded", {"a": whole, "b": whole}, files={"members/a.onnx": whole[: len(whole) // 2]})


def unreadable_onnx(root: Path) -> None:
    """The digest is right, the bytes are no model."""
    staged = {"a": coded(2), "b": coded(2)}
    publish_raw(root, staged, "members/a.onnx", coded(2)[:-20])


def golden_mismatch(root: Path) -> None:
    rows = {"fused": np.full((4, 1), 9.0, np.float32)}
    publish(root, "coded", {"a": coded(2), "b": coded(2)}, golden=rows)


def missing_file(root: Path) -> None:
    publish(root, "coded", {"a": coded(2), "b": coded(2)})
    (root / "coded" / "2" / "members" / "b.onnx").unlink()


def wrong_shape(root: Path) -> None:
    """The manifest says one column, the member gives two."""
    publish_raw(root, {"a": coded(2), "b": coded(2)}, "members/a.onnx", linear([[1.0, 2.0]]))


def strict_provider(root: Path) -> None:
    execution = Execution(providers=(Provider(name="CUDAExecutionProvider"),), policy="strict")
    publish(root, "coded", {"a": coded(2), "b": coded(2)}, execution=execution)


def broken_manifest(root: Path) -> None:
    publish(root, "coded", {"a": coded(2), "b": coded(2)})
    path = root / "coded" / "2" / "ensemble.json"
    manifest = json.loads(path.read_bytes())
    manifest["quorum"] = 7
    path.write_text(json.dumps(manifest), encoding="utf-8")


def publish_raw(root: Path, members: dict[str, bytes], path: str, content: bytes) -> None:
    """Publish, then replace a member and its digest together: the files agree, the model does not fit."""
    import hashlib

    publish(root, "coded", dict(members))
    folder = root / "coded" / "2"
    (folder / path).write_bytes(content)
    manifest = json.loads((folder / "ensemble.json").read_bytes())
    for member in manifest["members"]:
        if member["file"] == path:
            member.update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    (folder / "ensemble.json").write_text(json.dumps(manifest), encoding="utf-8")


CASES = [
    (bad_digest, "integrity", "members/a.onnx"),
    (truncated_onnx, "integrity", "members/a.onnx"),
    (unreadable_onnx, "session", "'a'"),
    (golden_mismatch, "golden", "fused"),
    (missing_file, "integrity", "members/b.onnx"),
    (wrong_shape, "signature", "member 'a'"),
    (broken_manifest, "manifest", "quorum"),
    pytest.param(
        strict_provider,
        "provider",
        "CUDAExecutionProvider",
        marks=pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="a GPU is here: the provider would be used"),
    ),
]


def answer(server: ServerProcess) -> tuple[str, float]:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [4.0]}]}
    found = server.json("POST", "/v2/models/coded/infer", body)
    return found["model_version"], found["outputs"][0]["data"][0]


def made_elsewhere(root: Path, publish_bad: Damage) -> Path:
    """Version 2, damaged where nobody looks: some damage comes after the rename, which a server sees within ms."""
    good(root)
    publish_bad(root)
    return root / "coded" / "2"


@pytest.mark.parametrize(("publish_bad", "reason", "named"), CASES)
def test_a_refused_version_leaves_the_old_one_serving(
    tmp_path: Path, publish_bad: Damage, reason: str, named: str
) -> None:
    root, bad = tmp_path / "models", made_elsewhere(tmp_path / "elsewhere", publish_bad)
    good(root)
    with serving(root, "--poll-interval-s", "3600") as server:
        assert answer(server) == ("1", 5.0)
        bad.rename(root / "coded" / "2")
        status, content = server.control("/v2/repository/models/coded/load")
        assert status >= 400, content
        assert answer(server) == ("1", 5.0)
        index = server.json("POST", "/v2/repository/index", {})
        states = {entry["version"]: (entry["state"], entry.get("reason", "")) for entry in index}
        assert states["1"][0] == "READY"
        assert states["2"][0] == "UNAVAILABLE"
        assert named in states["2"][1], states["2"][1]
        assert str(tmp_path) not in states["2"][1], "the reason shows a path of the machine"
        line = server.wait_for_log(rf"'coded' version 2 is refused \({reason}\)")
        assert named in line
        assert "version 1 goes on serving" in line
        assert server.metric("tutti_swap_total", ensemble="coded", outcome=reason) >= 1


def test_a_version_beyond_the_memory_limit_is_refused(tmp_path: Path) -> None:
    good(tmp_path)
    with serving(tmp_path, "--memory-factor", "100", "--memory-limit-bytes", str(400 << 20)) as server:
        heavy = linear(np.ones((1, 2_000_000), np.float32)[:, :1_500_000])
        publish(tmp_path, "heavy", {"a": Spec(heavy, kind="value")}, task="ranking",
                classes=tuple(map(str, range(10))), golden={"fused": np.zeros((4, 10), np.float32)})  # fmt: skip
        server.wait_for_log(r"'heavy' version 1 is refused")
        assert answer(server) == ("1", 5.0)


def test_a_refused_version_is_not_tried_for_ever_but_a_mended_one_is(tmp_path: Path) -> None:
    root, bad = tmp_path / "models", made_elsewhere(tmp_path / "elsewhere", bad_digest)
    good(root)
    with serving(root, "--poll-interval-s", "0.05") as server:
        bad.rename(root / "coded" / "2")
        server.wait_for_log("version 2 is refused")
        looks = server.metric("tutti_swap_seconds_count", phase="verify")
        good(root, version=3)
        server.wait_served("coded", 3)
        assert server.metric("tutti_swap_seconds_count", phase="verify") <= looks + 1
        assert sum("version 2 is refused" in line for line in server.log) == 1


def test_a_cold_start_falls_back_to_an_older_version(tmp_path: Path) -> None:
    good(tmp_path)
    bad_digest(tmp_path)
    with serving(tmp_path) as server:
        assert answer(server) == ("1", 5.0)
        server.wait_for_log("version 2 is refused")


def test_an_emptied_repository_unloads_nothing_at_once(tmp_path: Path) -> None:
    good(tmp_path)
    with serving(tmp_path, "--poll-interval-s", "0.2") as server:
        (tmp_path / "coded").rename(tmp_path / ".hidden")
        server.wait_for_log("is no longer in the repository; it goes on serving")
        assert answer(server) == ("1", 5.0)
        (tmp_path / ".hidden").rename(tmp_path / "coded")
        publish(tmp_path, "coded", {"a": coded(2), "b": coded(2)})
        server.wait_served("coded", 2)
