"""Answers that hang on the other rows of a batch are refused at publish, with the figure; 8-bit members are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, load_from_string

from exporter.foreign.neighbours import apart, in_8_bits
from exporter.foreign.tolerance import Tolerance
from model_repo import Manifest, Repository
from tests.exporter.foreign.samples import W, answers, built, floats, publish, rows, scored

MEAN = scored(
    W,
    [
        helper.make_node("ReduceMean", ["z"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["z", "m"], ["y"]),
    ],
    [floats("y", 3)],
)
SOFTMAX_OVER_ROWS = scored(
    W,
    [helper.make_node("Softmax", ["z"], ["s"], axis=0), helper.make_node("Log", ["s"], ["y"])],
    [floats("y", 3)],
)
TRAINING = built(
    [
        helper.make_node("MatMul", ["x", "W"], ["z"]),
        helper.make_node(
            "BatchNormalization", ["z", "one", "zero", "zero", "one"], ["y", "m", "v"], training_mode=1, momentum=0.9
        ),
    ],
    [floats("y", 3)],
    {"W": W, "one": np.ones(3, np.float32), "zero": np.zeros(3, np.float32)},
)


def dynamic_8_bit(columns: int = 3) -> bytes:
    """logits of weights and activations in 8 bits, the scale of the activations being that of the whole batch."""
    w = np.clip(np.round(W[:, :columns] * 20), -63, 63).astype(np.int8)  # 7 bits: some CPUs saturate pairs of 8
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "p"]),
        helper.make_node("MatMulInteger", ["q", "w", "p"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "s"], ["g"]),
        helper.make_node("Mul", ["g", "scale"], ["y"]),
    ]
    return built(nodes, [floats("y", columns)], {"w": w, "scale": np.array([0.05], np.float32)})


def manifest(folder: Path) -> Manifest:
    return Repository(folder / "models").open("own", 1).manifest


@pytest.mark.parametrize("member", [MEAN, SOFTMAX_OVER_ROWS, TRAINING], ids=["mean", "softmax", "batch norm"])
def test_rows_that_hang_on_their_neighbours_are_refused_with_the_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], member: bytes
) -> None:
    assert publish(tmp_path, {"a": member}, "--classes", "a,b,c") == 2
    told = capsys.readouterr().err
    assert "member 'a': its answers hang on the other rows of the batch: a row alone and the same row among 16" in told
    assert "allowed is" in told
    assert "--atol" in told
    assert not (tmp_path / "models").exists() or not list((tmp_path / "models").rglob("ensemble.json"))


def amplifying(share: float) -> bytes:
    """x W, moved by `share` of what only the number of rows says: as other sums of a larger batch round."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["rows"]),
        helper.make_node("Greater", ["rows", "one"], ["several"]),
        helper.make_node("Cast", ["several"], ["s"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["s", "by"], ["moved"]),
        helper.make_node("Mul", ["z", "moved"], ["m"]),
        helper.make_node("Sub", ["z", "m"], ["y"]),
    ]
    constants = {"zero": np.array([0]), "one": np.array([1]), "by": np.array([[share]], np.float32)}
    return scored(W, nodes, [floats("y", 3)], constants)


def test_rounding_that_the_size_of_a_batch_moves_is_told_and_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(tmp_path, {"a": amplifying(0.002)}, "--classes", "a,b,c") == 0
    assert "warning: it amplifies rounding: a row alone and the same row among 16" in capsys.readouterr().out
    assert 1e-4 < manifest(tmp_path).golden.atol < 0.02
    answers(tmp_path, rows(), "probabilities")
    assert publish(tmp_path, {"a": amplifying(0.3)}, "--classes", "a,b,c") == 2


def test_little_is_refused_too_where_it_is_the_others_that_move_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tail = [
        helper.make_node("ReduceMean", ["z"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Mul", ["m", "little"], ["l"]),
        helper.make_node("Sub", ["z", "l"], ["y"]),
    ]
    member = scored(W, tail, [floats("y", 3)], {"little": np.array(0.005, np.float32)})
    assert publish(tmp_path, {"a": member}, "--classes", "a,b,c") == 2
    assert "its answers hang on the other rows of the batch" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["noise", "dropout"])
def test_answers_that_change_from_call_to_call_are_refused_as_that(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = [helper.make_node("RandomNormalLike", ["z"], ["r"]), helper.make_node("Add", ["z", "r"], ["y"])]
    dropout = [helper.make_node("Dropout", ["z", "half", "yes"], ["y"])]
    constants = {"half": np.array(0.5, np.float32), "yes": np.array(True)}
    tail = noise if kind == "noise" else dropout
    member = scored(W, tail, [floats("y", 3)], {} if kind == "noise" else constants)
    assert publish(tmp_path, {"a": member}, "--classes", "a,b,c") == 2
    told = capsys.readouterr().err
    assert "member 'a': its answers change from call to call: the same rows asked twice differ by" in told
    assert f"as its graph has {'RandomNormalLike' if kind == 'noise' else 'Dropout'}: export it in eval" in told


def test_what_the_user_allows_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(tmp_path, {"a": MEAN}, "--classes", "a,b,c", "--atol", "100") == 0
    assert "warning: its answers hang on the other rows" in capsys.readouterr().out
    assert manifest(tmp_path).golden.atol == 100


def test_8_bit_members_are_published_with_a_warning_and_the_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(tmp_path, {"a": dynamic_8_bit()}, "--classes", "a,b,c") == 0
    told = capsys.readouterr().out
    assert "warning: it computes in 8 bits" in told
    assert "--atol" in told
    assert manifest(tmp_path).golden.atol > 1e-4
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    assert found.shape == (9, 3)
    assert publish(tmp_path, {"a": dynamic_8_bit()}, "--classes", "a,b,c", "--atol", "1e-9", "--rtol", "0") == 2


def test_golden_rows_of_more_than_a_batch_are_computed_in_batches_as_the_server_makes_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32) * [[1]] * 3)
    words = ("--golden", str(tmp_path / "rows.npz"), "--max-batch-rows", "4", "--classes", "a,b,c")
    assert publish(tmp_path, {"a": dynamic_8_bit()}, *words, "--atol", "0.2") == 0
    answers(tmp_path, rows(), "probabilities")  # holds the golden rows


def test_a_plain_member_says_nothing_of_neighbours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(tmp_path, {"a": scored(W, [], [floats("z", 3)])}, "--classes", "a,b,c") == 0
    assert "warning" not in capsys.readouterr().out


def test_large_values_are_compared_by_their_size() -> None:
    among = np.array([[1e6, 3.0], [2e6, 1.0]], np.float32)
    assert not apart(among * np.float32(1 + 1e-6), among, Tolerance()).far
    assert apart(among * np.float32(1.01), among, Tolerance()).far
    assert apart(among + 1, among, Tolerance(atol=0, rtol=0)).far


def test_operators_in_8_bits_are_found_in_subgraphs_too() -> None:
    graph = load_from_string(dynamic_8_bit()).graph
    assert in_8_bits(graph)
    assert not in_8_bits(load_from_string(MEAN).graph)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--timeout", "0"], "--timeout: 0 given"),
        (["--timeout", "soon"], "--timeout: 'soon' given, expected seconds such as 0.5 or 500ms"),
        (["--max-queue-delay", "90"], "--max-queue-delay: 90 given, expected 0 to 60 s"),
        (["--max-queue-wait", "0"], "--max-queue-wait: 0 given, expected more than 0"),
        (["--max-queue-rows", "5"], "--max-queue-rows: 5 given, expected at least --max-batch-rows, 64"),
        (["--atol", "-1"], "--atol: -1 given"),
        (["--rtol", "2"], "--rtol: 2 given, expected 0 to 1"),
    ],
)
def test_limits_out_of_bounds_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert publish(tmp_path, {"a": scored(W, [], [floats("z", 3)])}, "--classes", "a,b,c", *words) == 2
    assert message in capsys.readouterr().err


def test_limits_reach_the_manifest(tmp_path: Path) -> None:
    words = [
        "--classes",
        "a,b,c",
        "--max-queue-rows",
        "5000",
        "--timeout",
        "2.5",
        "--max-queue-delay",
        "5ms",
        "--max-queue-wait",
        "1500ms",
        "--atol",
        "0.01",
        "--rtol",
        "0.001",
    ]
    assert publish(tmp_path, {"a": scored(W, [], [floats("z", 3)])}, *words) == 0
    found = manifest(tmp_path)
    assert (found.batching.max_queue_rows, found.batching.timeout_s) == (5000, 2.5)
    assert found.batching.max_queue_delay_s == pytest.approx(0.005)
    assert found.batching.max_queue_wait_s == pytest.approx(1.5)
    assert (found.golden.atol, found.golden.rtol) == (0.01, 0.001)
