"""A sitting with a real server and the real generator; peers that need an environment are left to a real run."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from loadtest.peers import wrk
from loadtest.peers.catalogue import CATALOGUE, Peer, chosen
from loadtest.peers.cli import main
from loadtest.peers.comparison import Comparison
from loadtest.peers.ensembles import Ensemble, build, write
from loadtest.peers.errors import PeerError
from loadtest.peers.networks import perceptron
from loadtest.peers.rounds import Options, command, measure_rounds, reference

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


@pytest.fixture
def small(tmp_path: Path) -> Ensemble:
    members = {f"m{seed}": perceptron(6, (4,), 10, seed) for seed in (1, 2)}
    return write("small", (6,), members, tmp_path / "small")


@needs_wrk
def test_a_server_is_measured_and_a_failing_one_is_skipped_and_named(tmp_path: Path, small: Ensemble) -> None:
    (constant,) = chosen(["constant"])
    broken = Peer(
        name="broken", family="broken", kind="ceiling", title="Broken", script="absent.py", formats=constant.formats
    )
    told: list[str] = []
    options = Options(
        peers=[constant, broken], ensembles=[small], protocols=["json"], connections=[2], seconds=1, rounds=1,
        warm_up_s=0, bare=False, environments=tmp_path, folder=tmp_path, tell=told.append,
    )  # fmt: skip
    comparison = measure_rounds(options, wrk.find(tmp_path / "wrk"))
    (result,) = comparison.results
    assert (result.peer, result.errors, result.rounds) == ("constant", 0, 1)
    assert result.rps > 0
    assert result.p99_ms >= result.p50_ms > 0
    (skipped,) = comparison.skipped
    assert skipped.peer == "broken"
    assert "ended with status 2" in skipped.reason
    assert "broken ended with status 2" in told[-1]


@needs_wrk
def test_the_command_line_writes_the_table_and_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--peers", "constant", "--ensembles", "tiny", "--protocols", "json", "--connections", "1"]
    status = main([*words, "--seconds", "1", "--rounds", "1", "--out", str(tmp_path)])
    assert status == 0
    table = (tmp_path / "peers.md").read_text(encoding="utf-8")
    assert "constant answer" in table
    assert capsys.readouterr().out == table
    comparison = msgspec.json.decode((tmp_path / "peers.json").read_bytes(), type=Comparison)
    assert [one.peer for one in comparison.results] == ["constant"]


def test_members_averaged_and_the_merged_graph_give_the_same(tmp_path: Path, small: Ensemble) -> None:
    merged = Ensemble("merged", small.shape, {"merged": small.merged}, small.merged)
    answers = reference(small, tmp_path)
    assert answers.shape == (8, 10)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(reference(merged, tmp_path), answers, atol=1e-6)


def test_the_same_files_are_written_each_time(tmp_path: Path) -> None:
    first, second = build("tiny", tmp_path / "a"), build("tiny", tmp_path / "b")
    assert [path.read_bytes() for path in first.members.values()] == [p.read_bytes() for p in second.members.values()]
    assert np.array_equal(first.rows(3), second.rows(3))


def test_peers_can_be_given_one_graph_made_by_hand(tmp_path: Path, small: Ensemble) -> None:
    (mosec,) = [peer for peer in CATALOGUE if peer.name == "mosec"]
    options = Options(peers=[mosec], ensembles=[small], environments=tmp_path, folder=tmp_path, files="merged")
    words = command(mosec, small, 1, Path(sys.executable), options)
    assert words[-1] == str(small.merged)
    assert str(next(iter(small.members.values()))) not in words


def test_a_familys_name_stands_for_all_of_it() -> None:
    assert [peer.name for peer in chosen(["fastapi"])] == ["fastapi-tuned-2", "fastapi-tuned", "fastapi"]
    with pytest.raises(PeerError, match="unknown peer 'abacus'; there are bentoml"):
        chosen(["abacus"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--peers", "abacus"], "unknown peer 'abacus'"),
        (["--ensembles", "huge"], "--ensembles: unknown 'huge'; there are tiny, cnn, mid"),
        (["--protocols", "grpc"], "--protocols: unknown 'grpc'"),
        (["--connections", "0"], "--connections is '0'"),
        (["--connections", "many"], "--connections is 'many'"),
        (["--seconds", "0"], "--seconds is 0; expected at least 1"),
        (["--rounds", "-1"], "--rounds is -1"),
        (["--tutti", "lanes"], "--tutti 'lanes': expected NAME=ARGS"),
    ],
)
@needs_wrk
def test_a_wrong_option_is_named_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("loadtest.peers: ")
    assert message in error
    assert error.count("\n") == 1
