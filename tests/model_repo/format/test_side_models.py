"""Detectors and extras in a manifest: what may be said of them, and that their files count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model_repo import Detector, Extra, File, Golden, Repository, decode, encode, manifest_files, problems
from model_repo.cli.display import version_text
from model_repo.cli.summary import show_version
from tests.model_repo.samples import NOTHING, manifest, member


def detector(name: str = "stranger", **fields: Any) -> Detector:
    """A detector whose score is compared with three others."""
    base: dict[str, Any] = {
        "name": name, "file": f"detectors/{name}.onnx", "sha256": NOTHING.sha256, "bytes": 1, "output": "score",
        "quantiles": (0.0, 1.0, 4.0),
    }  # fmt: skip
    return Detector(**{**base, **fields})


def extra(name: str = "transcript", **fields: Any) -> Extra:
    """Eight integers a row."""
    base: dict[str, Any] = {
        "name": name, "file": f"extras/{name}.onnx", "sha256": NOTHING.sha256, "bytes": 1, "output": "tokens",
        "datatype": "INT64", "shape": (-1, 8),
    }  # fmt: skip
    return Extra(**{**base, **fields})


def test_detectors_and_extras_survive_the_round_trip() -> None:
    made = manifest(detectors=(detector(family="autoencoder", weight=2.0),), ood_threshold=0.99, extras=(extra(),))
    assert decode(encode(made), "it") == made


def test_their_files_are_the_version_s_too() -> None:
    weights = File(file="x.data", sha256="2" * 64, bytes=5)
    files = manifest_files(manifest(detectors=(detector(external=(weights,)),), extras=(extra(),)))
    assert {"detectors/stranger.onnx", "detectors/x.data", "extras/transcript.onnx"} <= {file.file for file in files}


def test_members_detectors_and_extras_may_share_a_file() -> None:
    shared: dict[str, Any] = {"file": "members/trunk.onnx"}
    made = manifest(
        members=(member("left", **shared), member("right", output="second", **shared)),
        detectors=(detector(**shared),),
        extras=(extra(**shared),),
    )
    assert problems(made) == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"detectors": (detector(quantiles=(1.0,)),)},
            "detector 'stranger': quantiles has 1 values, expected 2 to 10001",
        ),
        (
            {"detectors": (detector(quantiles=(0.0, 2.0, 1.0)),)},
            "detector 'stranger': quantiles[1] is 2, more than the next, 1; expected ascending",
        ),
        ({"detectors": (detector(weight=0.0),)}, "detectors: the weights are all 0, which gives no score"),
        ({"ood_threshold": 0.9}, "ood_threshold is 0.9, but there is no detector"),
        (
            {"detectors": (detector("cnn"),)},
            "members, detectors and extras have 'cnn' more than once",
        ),
        (
            {"detectors": (detector(inputs={"x": "sound"}),)},
            "detector 'stranger': inputs takes 'x' from 'sound', the ensemble's inputs are 'pixels'",
        ),
        (
            {"extras": (extra("ood_score"),)},
            "extra 'ood_score' has the name of an output that ensembles have by themselves",
        ),
        (
            {"extras": (extra(shape=(-1, -1)),)},
            "extra 'transcript': shape is [-1, -1], expected -1, the rows, then fixed sizes of 1 or more",
        ),
        (
            {"extras": (extra(shape=()),)},
            "extra 'transcript': shape is [], expected -1, the rows, then fixed sizes of 1 or more",
        ),
        (
            {"extras": (extra(output=""),)},
            "extra 'transcript': output is empty, expected the name of an ONNX output",
        ),
    ],
)
def test_what_makes_no_sense_is_told(fields: dict[str, Any], told: str) -> None:
    assert problems(manifest(**fields)) == [told]


def test_a_shared_file_has_one_digest() -> None:
    other = detector(file="members/cnn.onnx", sha256="3" * 64)
    assert problems(manifest(detectors=(other,))) == [
        "file 'members/cnn.onnx' is named twice, with different sha256 or bytes"
    ]


def test_a_version_is_shown_with_its_detectors_and_extras(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    with repository.stage("digits") as staging:
        content = staging.add("members/cnn.onnx", b"shared by all")
        shared: dict[str, Any] = {"file": content.file, "sha256": content.sha256, "bytes": content.bytes}
        golden = staging.add("golden.npz", b"rows")
        staging.publish(
            manifest(
                members=(member("cnn", content, **shared),),
                detectors=(detector(family="kmeans", **shared),),
                extras=(extra(**shared),),
                golden=Golden(file=golden.file, sha256=golden.sha256, bytes=golden.bytes, rows=1),
            )
        )
    words = [line.split() for line in version_text(show_version(repository, "digits", 3)).splitlines()]
    told = {line[0]: line[1:] for line in words if len(line) > 4}
    assert told["stranger"][:3] == ["kmeans", "detector", "1"]
    assert told["transcript"][:2] == ["-", "extra"]
