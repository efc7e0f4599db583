"""Extras: outputs that are given as they are, to those who ask."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from server.errors import LoadError
from server.runtime import OutputSpec, SessionPool
from server.runtime.datatypes import Array
from tests.graphs import softmax_linear
from tests.server.runtime.loading import load
from tests.side_models import W, check_golden, extra, fragile, publish_with, run, tokens, words

TOKENS = tokens()
PAIR = [
    (extra("transcript", TOKENS, "tokens"), TOKENS),
    (extra("half", TOKENS, "half", datatype="FP32", file="extras/transcript.onnx"), TOKENS),
]
X = {"x": np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)}


def test_an_extra_is_offered_and_given_only_when_asked_for(tmp_path: Path, pool: SessionPool) -> None:
    publish_with(tmp_path, extras=PAIR)
    ensemble = load(tmp_path, pool)
    assert ensemble.outputs["transcript"] == OutputSpec("INT64", (-1, 3))
    assert ensemble.default_outputs == ("probabilities", "label")
    assert set(ensemble.predict(X, ensemble.default_outputs).outputs) == {"probabilities", "label"}
    got = ensemble.predict(X, ["transcript", "label", "half"]).outputs
    np.testing.assert_array_equal(got["transcript"], run(TOKENS, "tokens", X))
    np.testing.assert_array_equal(got["half"], X["x"] / 2)
    assert got["transcript"].dtype == np.int64
    ensemble.close()


def test_extras_of_one_file_are_one_session(tmp_path: Path, pool: SessionPool) -> None:
    publish_with(tmp_path, extras=PAIR)
    ensemble = load(tmp_path, pool)
    assert pool.count == (4 if ensemble.plan == "merged" else 3)
    ensemble.close()


def test_an_extra_may_be_an_output_of_a_member_s_file(tmp_path: Path, pool: SessionPool) -> None:
    first = softmax_linear(W[0])
    own = extra("logits", first, "y", datatype="FP32", shape=(-1, 4), file="members/m0.onnx")
    publish_with(tmp_path, extras=[(own, first)])
    ensemble = load(tmp_path, pool)
    got = ensemble.predict(X, ["logits", "members"]).outputs
    np.testing.assert_allclose(got["logits"], got["members"][:, 0], atol=1e-6)
    ensemble.close()


def test_a_failing_extra_is_told_and_the_other_outputs_are_there(tmp_path: Path, pool: SessionPool) -> None:
    brittle = fragile()
    publish_with(tmp_path, extras=[*PAIR, (extra("brittle", brittle, "y", datatype="FP32", shape=(-1, 1)), brittle)])
    ensemble = load(tmp_path, pool)
    feeds = {"x": np.full((2, 3), 9, np.float32)}
    got = ensemble.predict(feeds, ["label", "brittle", "half"])
    assert set(got.outputs) == {"label", "half"}
    assert [(f.member, f.role) for f in got.failures] == [("brittle", "extra")]
    assert got.usable is None
    ensemble.close()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"datatype": "INT32"}, "extra 'transcript' gives 'tokens' as INT64, the manifest says INT32"),
        ({"shape": (-1, 4)}, r"extra 'transcript' gives \[n, 3\], the manifest says \[n, 4\]"),
        ({"output": "words"}, "extra 'transcript' has no output 'words'; its outputs are 'tokens', 'half'"),
        ({"inputs": {"y": "x"}}, "extra 'transcript' has no input 'y', which the manifest feeds"),
    ],
)
def test_a_file_that_gives_something_else_is_refused(
    tmp_path: Path, pool: SessionPool, fields: dict[str, object], told: str
) -> None:
    right, data = PAIR[0]
    publish_with(tmp_path, extras=[(right, data)], published=[msgspec.structs.replace(right, **fields)])
    with pytest.raises(LoadError, match=told):
        load(tmp_path, pool)


def test_golden_rows_hold_integers_exactly_and_floats_within_the_tolerance(tmp_path: Path, pool: SessionPool) -> None:
    wanted, half = run(TOKENS, "tokens"), run(TOKENS, "half")
    publish_with(tmp_path, extras=PAIR, golden={"extra:half": half + np.float32(5e-5)})
    check_golden(tmp_path, pool)
    wanted[2, 1] += 1
    publish_with(tmp_path, extras=PAIR, golden={"extra:transcript": wanted})
    with pytest.raises(LoadError, match=r"extra 'transcript' does not reproduce golden row 2: gives \[0, 20, 0\], st"):
        check_golden(tmp_path, pool, 2)
    publish_with(tmp_path, extras=PAIR, golden={"extra:half": half + np.float32(1e-3)})
    with pytest.raises(LoadError, match="extra 'half' does not reproduce golden row"):
        check_golden(tmp_path, pool, 3)


def test_golden_rows_of_another_shape_are_refused(tmp_path: Path, pool: SessionPool) -> None:
    publish_with(tmp_path, extras=PAIR, golden={"extra:transcript": np.zeros((5, 2), np.int64)})
    with pytest.raises(LoadError, match=r"'extra:transcript' is \[5, 2\], expected \[5, 3\]"):
        check_golden(tmp_path, pool)


def test_an_extra_that_fails_on_golden_rows_is_refused(tmp_path: Path, pool: SessionPool) -> None:
    brittle = fragile()
    feeds = {"x": np.full((5, 3), 9, np.float32)}
    golden = {"extra:brittle": np.ones((5, 1), np.float32), "input:x": feeds["x"]}
    golden |= {"members": members_of(feeds), "fused": members_of(feeds).mean(axis=1)}
    publish_with(
        tmp_path, extras=[(extra("brittle", brittle, "y", datatype="FP32", shape=(-1, 1)), brittle)], golden=golden
    )
    with pytest.raises(LoadError, match=r"extra 'brittle' gives no answer to golden rows: .*indices element out of"):
        check_golden(tmp_path, pool)


def members_of(feeds: dict[str, Array]) -> Array:
    return np.stack([run(softmax_linear(each), "y", feeds) for each in W], axis=1)


def test_strings_are_an_extra_too(tmp_path: Path, pool: SessionPool) -> None:
    data = words()
    golden = {"extra:words": run(data, "words").astype(np.str_)}
    publish_with(tmp_path, extras=[(extra("words", data, "words", datatype="BYTES"), data)], golden=golden)
    ensemble = load(tmp_path, pool)
    given = ensemble.predict({"x": np.ones((1, 3), np.float32)}, ["words"]).outputs["words"]
    assert given.tolist() == [["1", "1", "1"]]
    ensemble.close()
