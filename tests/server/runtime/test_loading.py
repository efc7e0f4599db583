"""Loading a version: shared sessions, verified bytes, and nothing left behind by what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from model_repo import Repository, decode, encode
from server.errors import LoadError
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.graphs import coded, softmax_linear, with_external
from tests.repositories import Spec, opened, publish
from tests.server.runtime.loading import TWO, W, load, rows_of


def test_versions_that_share_a_member_share_its_session(tmp_path: Path, pool: SessionPool) -> None:
    publish(tmp_path, "tiny", {"same": coded(3), "old": coded(5)})
    publish(tmp_path, "tiny", {"same": coded(3), "new": coded(7)})
    sequential = RuntimeOptions(cores=2, plan="sequential")
    first, second = load(tmp_path, pool, sequential), load(tmp_path, pool, sequential, version=2)
    assert pool.count == 3
    assert pool.holds(hashlib.sha256(coded(3)).hexdigest())
    first.close()
    x = np.ones((1, 1), np.float32)
    assert second.predict({"x": x}, ["value"]).outputs["value"].tolist() == [5.0]
    assert pool.count == 2
    second.close()


def test_external_weights_are_verified_and_loaded(tmp_path: Path, pool: SessionPool) -> None:
    data, content = with_external(softmax_linear(W[0]), "cnn.onnx.data")
    members: dict[str, bytes | Spec] = {
        "cnn": Spec(data, external={"cnn.onnx.data": content}),
        "rf": softmax_linear(W[1]),
    }
    publish(tmp_path, "tiny", members)
    ensemble = load(tmp_path, pool, RuntimeOptions(cores=2, plan="merged"))
    assert ensemble.plan == "merged"
    feeds = rows_of(3)
    expected = opened(softmax_linear(W[0])).run(["y"], feeds)[0]
    np.testing.assert_allclose(ensemble.predict(feeds, ["members"]).outputs["members"][:, 0], expected, atol=1e-6)
    ensemble.close()
    damaged = bytes(len(content))
    publish(tmp_path, "tiny", members, files={"members/cnn.onnx.data": damaged})
    assert refused(tmp_path, pool, "integrity", version=2).startswith("member 'cnn': tiny/2/members/cnn.onnx.data has")


@pytest.mark.parametrize("location", ["cnn.onnx.data", "../golden.npz", "*/_ORT_MEM_ADDR_/*"])
def test_external_weights_that_the_manifest_does_not_name_are_refused(
    tmp_path: Path, pool: SessionPool, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, content = with_external(softmax_linear(W[0]), "w")
    publish(tmp_path, "tiny", {"cnn": Spec(data, external={"w": content})})
    hidden, content = with_external(softmax_linear(W[0]), location)
    (tmp_path / "cnn.onnx.data").write_bytes(content)
    monkeypatch.chdir(tmp_path)  # onnxruntime looks there for the weights of a model it was given as bytes
    replace_member(tmp_path, "cnn", hidden)
    message = refused(tmp_path, pool, "session")
    assert message == (
        f"member 'cnn' cannot be loaded: its weights are in {location!r}, which the manifest does not name"
    )


def replace_member(root: Path, member: str, data: bytes) -> None:
    """Put another model, with its digest, into version 1: what a hostile publisher could write by hand."""
    folder = root / "tiny" / "1"
    manifest = decode((folder / "ensemble.json").read_bytes(), "ensemble.json")
    (folder / f"members/{member}.onnx").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    changed = tuple(
        msgspec.structs.replace(m, sha256=digest, bytes=len(data)) if m.name == member else m for m in manifest.members
    )
    (folder / "ensemble.json").write_bytes(encode(msgspec.structs.replace(manifest, members=changed)))


def refused(root: Path, pool: SessionPool, reason: str, version: int = 1) -> str:
    with pytest.raises(LoadError) as caught:
        load(root, pool, version=version)
    assert caught.value.reason == reason
    assert pool.count == 0, "nothing stays acquired"
    return str(caught.value)


def test_a_truncated_member_is_refused_and_leaves_nothing(tmp_path: Path, pool: SessionPool) -> None:
    publish(tmp_path, "tiny", {"good": softmax_linear(W[0]), "cut": softmax_linear(W[1])})
    replace_member(tmp_path, "cut", softmax_linear(W[1])[:80])
    assert refused(tmp_path, pool, "session").startswith("member 'cut' cannot be loaded: ")


def test_a_file_that_is_not_what_the_manifest_says_is_refused(tmp_path: Path, pool: SessionPool) -> None:
    data = softmax_linear(W[1])
    flipped = data[:50] + bytes([data[50] ^ 1]) + data[51:]
    publish(tmp_path, "tiny", {"good": softmax_linear(W[0]), "bad": data}, files={"members/bad.onnx": flipped})
    assert "members/bad.onnx has sha256" in refused(tmp_path, pool, "integrity")


def test_a_damaged_copy_of_a_loaded_member_is_refused_too(tmp_path: Path) -> None:
    pool = SessionPool()
    publish(tmp_path, "tiny", {"one": softmax_linear(W[0])})
    publish(tmp_path, "tiny", {"one": softmax_linear(W[0])}, files={"members/one.onnx": b"damaged"})
    ensemble = load(tmp_path, pool)
    with pytest.raises(LoadError, match=r"tiny/2/members/one\.onnx has 7 bytes"):
        load(tmp_path, pool, version=2)
    assert pool.count == 1
    ensemble.close()


def test_a_missing_golden_file_is_an_integrity_error(tmp_path: Path) -> None:
    publish(tmp_path, "tiny", {"one": softmax_linear(W[0])})
    (tmp_path / "tiny/1/golden.npz").unlink()
    ensemble = LoadedEnsemble.open(Repository(tmp_path).open("tiny", 1), SessionPool(), TWO)
    with pytest.raises(LoadError, match=r"golden\.npz is missing") as caught:
        ensemble.check_golden()
    assert caught.value.reason == "integrity"
    ensemble.close()


def test_closing_twice_is_no_error_and_predicting_after_it_is_a_bug(tmp_path: Path, pool: SessionPool) -> None:
    publish(tmp_path, "tiny", {"one": softmax_linear(W[0])})
    ensemble = load(tmp_path, pool)
    ensemble.close()
    ensemble.close()
    with pytest.raises(RuntimeError, match="bug"):
        ensemble.predict(rows_of(1), ["label"])
