"""The golden gate: what it accepts, and how it blames."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_repo import Input, Mean, Repository, Stacked
from server.errors import LoadError
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.golden import golden_rows as golden_module
from server.runtime.golden.golden_rows import read, tiled
from tests.graphs import keyword, linear, nan_above, raising_above, softmax_linear, stacker
from tests.repositories import Spec, publish
from tests.server.runtime.manifests import DIGEST, manifest, member

RANDOM = np.random.default_rng(0)
W = [RANDOM.normal(size=(3, 4)) for _ in range(3)]
DESCRIBED = manifest(member("one"), member("two"))
ARRAYS: dict[str, Any] = {
    "input:x": np.zeros((2, 2), np.float32),
    "members": np.zeros((2, 2, 3), np.float32),
    "fused": np.zeros((2, 3), np.float32),
}


def packed(arrays: dict[str, Any], allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=allow_pickle, **arrays)
    return buffer.getvalue()


def gate(root: Path, **published: Any) -> LoadedEnsemble:
    """Publish three members, load them and reproduce the golden rows."""
    members = published.pop("members", {f"m{k}": softmax_linear(W[k]) for k in range(3)})
    version = publish(root, "tiny", members, published.pop("fusion", Mean()), **published)
    ensemble = LoadedEnsemble.open(Repository(root).open("tiny", version), SessionPool(), RuntimeOptions(cores=1))
    try:
        ensemble.check_golden()
    finally:
        ensemble.close()
    return ensemble


def refusal(root: Path, **published: Any) -> str:
    with pytest.raises(LoadError) as caught:
        gate(root, **published)
    assert caught.value.reason == "golden"
    return str(caught.value)


def test_a_version_that_reproduces_its_golden_rows_passes(tmp_path: Path) -> None:
    gate(tmp_path)


def test_golden_rows_beyond_a_batch_are_run_in_batches(tmp_path: Path) -> None:
    feeds = {"x": RANDOM.normal(size=(70, 3)).astype(np.float32)}
    gate(tmp_path, feeds=feeds)


def test_a_member_that_differs_is_blamed_with_row_difference_and_tolerance(tmp_path: Path) -> None:
    publish(tmp_path, "other", {f"m{k}": softmax_linear(W[k]) for k in range(3)})
    arrays = np.load(io.BytesIO(Repository(tmp_path).open("other", 1).read("golden.npz")))
    members = arrays["members"].copy()
    members[2, 1, 3] += 0.25
    members[3, 1, 3] += 0.125
    message = refusal(tmp_path, golden={"members": members})
    assert message.startswith("member 'm1' does not reproduce golden row 2, 'c3': gives ")
    assert message.endswith("difference 0.25, tolerance 0.0001 + 1e-05 × value (2 of 4 rows differ)")


def test_a_fusion_that_differs_is_blamed_only_when_every_member_agrees(tmp_path: Path) -> None:
    message = refusal(tmp_path, golden={"fused": np.full((4, 4), 0.25, np.float32)})
    assert message.startswith("the fused answer does not reproduce golden row ")


def test_the_tolerance_is_the_manifests(tmp_path: Path) -> None:
    wrong = {"fused": np.full((4, 4), 0.25, np.float32)}
    gate(tmp_path, golden=wrong, atol=1.0)


def test_a_member_that_gives_nothing_is_named_with_its_reason(tmp_path: Path) -> None:
    answers = {"members": np.full((4, 2, 4), 0.25, np.float32), "fused": np.full((4, 4), 0.25, np.float32)}
    members = {"nan": nan_above(-10.0, W[0]), "good": softmax_linear(W[1])}
    assert "member 'nan' gives no answer to golden row 0, 'c0': 4 of 4 rows NaN or infinite" in refusal(
        tmp_path, members=members, golden=answers
    )
    members = {"broken": raising_above(-10.0, W[0]), "good": softmax_linear(W[1])}
    message = refusal(tmp_path, members=members, golden=answers)
    assert message.startswith("member 'broken' gives no answer to golden row 0, 'c0': ")
    assert "Gather" in message


def test_a_member_that_gave_nothing_to_the_exporter_either_passes(tmp_path: Path) -> None:
    gate(tmp_path, members={"nan": nan_above(0.0, W[0]), "good": softmax_linear(W[1])})


def test_a_learned_fusion_is_part_of_the_gate(tmp_path: Path) -> None:
    fusion = Stacked(file="fusion.onnx", sha256=DIGEST, bytes=0, fallback=Mean())
    gate(tmp_path, fusion=fusion, stacker=stacker(3, 4))
    message = refusal(tmp_path, fusion=fusion, stacker=stacker(3, 4), golden={"fused": np.eye(4, dtype=np.float32)})
    assert message.startswith("the fused answer does not reproduce golden row ")


def test_strings_are_stored_without_pickle(tmp_path: Path) -> None:
    members = {"one": keyword(["alpha"], 3), "two": keyword(["beta", "gamma"], 3)}
    gate(tmp_path, members=members)


def test_utf8_bytes_are_strings_too() -> None:
    described = manifest(member("one"), inputs=(Input(name="t", datatype="BYTES", shape=(-1,)),))
    answers = {"members": np.zeros((2, 1, 3), np.float32), "fused": np.zeros((2, 3), np.float32)}
    feeds = read(packed({"input:t": np.array([b"hi", "ü".encode()]), **answers}), described).feeds
    assert feeds["t"].tolist() == ["hi", "ü"]
    assert feeds["t"].dtype == np.object_
    with pytest.raises(LoadError, match="'input:t' is not UTF-8"):
        read(packed({"input:t": np.array([b"hi", b"\xff"]), **answers}), described)


def test_every_array_that_is_missing_or_wrong_is_listed() -> None:
    arrays = {
        "input:x": np.zeros((2, 2), np.float64),
        "members": np.zeros((2, 3, 3), np.float32),
        "extra": np.zeros(1),
    }
    with pytest.raises(LoadError) as caught:
        read(packed(arrays), DESCRIBED)
    assert str(caught.value) == (
        "golden.npz: 'input:x' is float64, expected float32; 'members' is [2, 3, 3], expected [2, 2, 3]; "
        "lacks 'fused'; has an array 'extra' that nothing uses"
    )


@pytest.mark.parametrize(
    "data",
    [b"", b"not a zip", packed(ARRAYS)[:-40], packed(ARRAYS)[:200] + b"\0" * 100 + packed(ARRAYS)[300:]],
    ids=["empty", "garbage", "truncated", "damaged"],
)
def test_what_is_no_npz_is_refused(data: bytes) -> None:
    with pytest.raises(LoadError, match=r"golden\.npz") as caught:
        read(data, DESCRIBED)
    assert caught.value.reason == "golden"


def test_pickles_are_refused() -> None:
    arrays = {**ARRAYS, "fused": np.array([[{}, 1, 2]] * 2, dtype=object)}
    with pytest.raises(LoadError, match=r"fused\.npy is no readable array"):
        read(packed(arrays, allow_pickle=True), DESCRIBED)


def test_a_bomb_is_refused_by_its_size_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden_module, "MAX_GOLDEN_BYTES", 10_000)
    data = packed({**ARRAYS, "fused": np.zeros((1000, 1000), np.float32)})
    assert len(data) < 10_000
    with pytest.raises(LoadError, match=r"unpacks to 400[0-9]+ bytes, the limit is 10000"):
        read(data, DESCRIBED)


def test_a_header_that_promises_more_than_there_is_allocates_nothing() -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20)})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("fused.npy", header.getvalue() + b"\0" * 16)
    with pytest.raises(LoadError, match=r"its header promises .* 16 bytes follow"):
        read(buffer.getvalue(), DESCRIBED)


def test_rows_are_repeated_or_cut_to_any_batch() -> None:
    feeds = {"x": np.arange(3), "t": np.array(["a", "b", "c"], object)}
    assert tiled(feeds, 7)["x"].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert tiled(feeds, 2)["t"].tolist() == ["a", "b"]


def test_a_member_with_its_own_class_order_and_temperature_is_compared_after_alignment(tmp_path: Path) -> None:
    members = {"same": softmax_linear(W[0]), "other": Spec(softmax_linear(W[1]), temperature=1.5)}
    gate(tmp_path, members=members)


def prices(scale: float) -> dict[str, bytes]:
    """Three regressions with values around `scale`, of which some are near 0."""
    return {f"m{k}": linear(W[k][:, :1] * scale) for k in range(3)}


def moved(root: Path, scale: float, share: float) -> dict[str, Any]:
    """The golden answers of `prices`, each moved by up to that share of itself at random."""
    publish(root, "other", prices(scale))
    arrays = np.load(io.BytesIO(Repository(root).open("other", 1).read("golden.npz")))
    draw = np.random.default_rng(1)
    return {
        name: (arrays[name] * (1 + draw.uniform(-share, share, arrays[name].shape))).astype(np.float32)
        for name in ("members", "fused")
    }


@pytest.mark.parametrize("scale", [1e5, 1e9])
def test_another_processors_last_digit_of_a_large_value_is_accepted(tmp_path: Path, scale: float) -> None:
    gate(tmp_path, members=prices(scale), golden=moved(tmp_path, scale, 5e-7))


@pytest.mark.parametrize("scale", [1e5, 1e9])
def test_a_large_value_that_is_wrong_is_refused(tmp_path: Path, scale: float) -> None:
    message = refusal(tmp_path, members=prices(scale), golden=moved(tmp_path, scale, 1e-3))
    assert message.startswith("member 'm")
    assert "tolerance 0.0001 + 1e-05 × value" in message


def test_the_relative_tolerance_is_the_manifests(tmp_path: Path) -> None:
    gate(tmp_path, members=prices(1e5), golden=moved(tmp_path, 1e5, 1e-3), atol=0.0, rtol=0.01)
