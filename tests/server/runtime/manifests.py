"""Manifests for what needs no files: members without content."""

from __future__ import annotations

from typing import Any

from model_repo import Golden, Input, Manifest, Mean, Member
from model_repo.format.manifest import FORMAT, Kind

DIGEST = "0" * 64


def member(name: str, kind: Kind = "probabilities", **fields: Any) -> Member:
    """A member whose output is `y`."""
    base: dict[str, Any] = {"name": name, "file": f"members/{name}.onnx", "sha256": DIGEST, "bytes": 1, "output": "y"}
    return Member(kind=kind, **{**base, **fields})


def manifest(*members: Member, classes: tuple[str, ...] = ("a", "b", "c"), **fields: Any) -> Manifest:
    """An ensemble of one input `x` float32 [n, 2]; without classes, a regression."""
    base: dict[str, Any] = {
        "format": FORMAT,
        "name": "tiny",
        "version": 1,
        "task": "classification" if classes else "regression",
        "inputs": (Input(name="x", datatype="FP32", shape=(-1, 2)),),
        "members": members,
        "fusion": Mean(),
        "quorum": 1,
        "golden": Golden(file="golden.npz", sha256=DIGEST, bytes=1, rows=2),
        "classes": classes,
    }
    return Manifest(**{**base, **fields})
