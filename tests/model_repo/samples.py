"""Small valid manifests and versions; tests change one thing about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from model_repo import FORMAT, File, Golden, Input, Manifest, Mean, Member, Repository

CNN = b"the bytes of the convolutional member"
FOREST = b"the bytes of the forest"
GOLDEN = b"the golden rows"
NOTHING = File(file="x", sha256="0" * 64, bytes=1)


def member(name: str, content: File = NOTHING, /, **fields: Any) -> Member:
    """A classification member that gives probabilities; `fields` replace its own."""
    own = Member(
        name=name,
        file=f"members/{name}.onnx",
        sha256=content.sha256,
        bytes=content.bytes,
        output="probabilities",
        kind="probabilities",
    )
    return msgspec.structs.replace(own, **fields)


def manifest(**fields: Any) -> Manifest:
    """A valid classification of three classes by two members, digests invented; `fields` replace its own."""
    own = Manifest(
        format=FORMAT,
        name="digits",
        version=3,
        task="classification",
        classes=("0", "1", "2"),
        inputs=(Input(name="pixels", datatype="FP32", shape=(-1, 8, 8)),),
        members=(member("cnn"), member("rf")),
        fusion=Mean(),
        quorum=1,
        golden=Golden(file="golden.npz", sha256="1" * 64, bytes=7, rows=2),
    )
    return msgspec.structs.replace(own, **fields)


def publish(
    repository: Repository, name: str = "digits", version: int | None = None, cnn: bytes = CNN, **fields: Any
) -> int:
    """Publish a version of two members with these bytes; gives its number."""
    with repository.stage(name) as staging:
        members = (
            member("cnn", staging.add("members/cnn.onnx", cnn)),
            member("rf", staging.add("members/rf.onnx", FOREST)),
        )
        golden = staging.add("golden.npz", GOLDEN)
        return staging.publish(
            manifest(
                name=name,
                version=version or staging.next_version,
                members=members,
                golden=Golden(file=golden.file, sha256=golden.sha256, bytes=golden.bytes, rows=2),
                **fields,
            )
        )


def published(root: Path, versions: int = 1, name: str = "digits") -> Repository:
    """A repository with versions 1 to `versions` of one ensemble."""
    repository = Repository(root)
    for _ in range(versions):
        publish(repository, name)
    return repository


def tree(folder: Path) -> set[str]:
    """Every path below the folder, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
