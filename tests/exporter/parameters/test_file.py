"""Parameters as files: what was written is read, and nothing else is."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save

from exporter.errors import ParametersError, TrainingError
from exporter.optimisation.run import Run, seeded
from exporter.optimisation.state import digest_of, state_of, structure_of
from exporter.parameters.file import packed, read, unpacked, written
from exporter.parameters.start import begun_with, overlap, seen_after, start_of
from tests.exporter.parameters.problems import network, problem_of

FACTS = {"member": "net", "family": "mlp", "start": "a", "root": "b"}


def file(seed: int = 0, width: int = 8) -> bytes:
    return written([state_of(network(width, seed))], FACTS)


def test_what_is_written_is_read() -> None:
    states = [state_of(network()), state_of(network(4, 1))]
    found = read(written(states, {**FACTS, "spec": {"width": 3}, "parents": ("digits/1:cnn x",)}), "here")
    assert digest_of(found.networks) == digest_of(states) == found.digest
    assert found.facts is not None
    assert found.root == "b"
    assert found.facts.spec == {"width": 3}


def test_structures_are_equal_by_names_shapes_and_types() -> None:
    assert structure_of([state_of(network(seed=1))]) == structure_of([state_of(network(seed=2))])
    assert structure_of([state_of(network(4))]) != structure_of([state_of(network(8))])


def test_weights_that_share_memory_are_written_each() -> None:
    weight = torch.ones(2, 2)
    found = read(written([{"a": weight, "b": weight}], FACTS), "here")
    assert torch.equal(found.networks[0]["b"], weight)


def test_another_s_file_is_one_network_of_unknown_origin() -> None:
    found = read(save({"0.weight": torch.ones(2)}), "theirs.safetensors")
    assert found.facts is None
    assert list(found.networks[0]) == ["0.weight"]
    assert found.root == found.digest


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00" * 7, file()[:-5], file() + b"more", (2**60).to_bytes(8, "little") + b"{}", b"\xff" * 64, file()[8:]],
    ids=["empty", "no header", "truncated", "longer", "huge header", "ones", "without size"],
)
def test_a_damaged_file_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ParametersError, match=r"^x\.safetensors is no safetensors file: [^\n]+$"):
        read(data, "x.safetensors")


def test_a_pickle_is_refused_and_never_opened() -> None:
    with pytest.raises(ParametersError, match="looks like a pickle, which is never opened"):
        read(pickle.dumps({"a": 1}, 4), "x.pt")


def test_tensors_that_were_exchanged_are_noticed() -> None:
    data = file()
    broken = data[:-4] + bytes([data[-4] ^ 1]) + data[-3:]
    with pytest.raises(ParametersError, match="not those that its metadata names"):
        read(broken, "x")


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ParametersError, match="'w' has NaN or infinite numbers"):
        read(save({"w": torch.tensor([1.0, torch.nan])}), "x")


def test_strange_metadata_is_refused() -> None:
    with pytest.raises(ParametersError, match="its metadata is not ours"):
        read(save({"0.w": torch.ones(1)}, {"tutti": "[]"}), "x")


def test_rows_come_back_from_their_text() -> None:
    rows = np.array([0, 3, 4, 1000], dtype=np.int64)
    assert unpacked(packed(rows)).tolist() == rows.tolist()
    assert unpacked(packed(rows[:0])).tolist() == []
    with pytest.raises(ParametersError, match="cannot be read"):
        unpacked("no text of ours")


def test_rows_of_the_whole_lineage_are_remembered() -> None:
    first, second = np.array([1, 2]), np.array([2, 7])
    start = start_of("base", written([state_of(network())], {**FACTS, "seen": seen_after(None, "data", first)}))
    assert unpacked(seen_after(start, "data", second)["data"]).tolist() == [1, 2, 7]
    assert overlap(start, "data", second) == 1
    assert overlap(start, "other data", second) == 0


def test_training_begins_with_what_fits_and_says_what_does_not() -> None:
    offered = dict(state_of(network(8, 4))) | {"strange": torch.ones(1)}
    run = Run(start=[offered])
    with seeded(1):
        run.solve(problem_of(torch.nn.Sequential(*network(8), torch.nn.Linear(2, 2))))
    (begun,) = run.begun
    assert "0.weight" in begun.taken
    assert begun.own == ("5.weight", "5.bias")
    assert begun.unused == ("strange",)


def test_nothing_that_fits_is_refused_with_what_there_is() -> None:
    run = Run(start=[{"features.weight": torch.ones(3, 3)}])
    told = re.escape("none of its 1 tensors (features.weight [3, 3]) has name and shape of one of this network's")
    with pytest.raises(TrainingError, match=told):
        run.solve(problem_of(network()))


def test_weights_that_are_the_result_are_kept_and_not_trained() -> None:
    offered = state_of(network(seed=4))
    run = Run(start=[offered], trains=False)
    run.solve(problem_of(network()))
    assert torch.equal(run.kept[0]["0.weight"], offered["0.weight"])
    assert not torch.equal(run.kept[0]["1.running_mean"], offered["1.running_mean"])


def test_a_file_that_was_read_already_begins_alike() -> None:
    data = file()
    assert begun_with("x", data, read(data, "x")) == start_of("x", data)
