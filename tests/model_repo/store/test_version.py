"""Reading files of a version: the bytes given are the bytes that were hashed."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from model_repo import File, Golden, IntegrityError, Mean, Repository, Stacked, Version, member_files
from tests.model_repo.samples import CNN, FOREST, GOLDEN, manifest, member, published

FILE = "members/cnn.onnx"


@pytest.fixture
def version(tmp_path: Path) -> Version:
    return published(tmp_path).open("digits", 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "digits" / "1"


def refusal(version: Version, file: str = FILE) -> str:
    """The message of all ways to verify a file, which must be the same."""
    with pytest.raises(IntegrityError) as read:
        version.read(file)
    with pytest.raises(IntegrityError) as checked:
        version.check(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model_repo.store.version.BUFFER_FROM_BYTES", 1)
        with pytest.raises(IntegrityError) as buffered:
            version.buffer(file)
    assert str(read.value) == str(checked.value) == str(buffered.value)
    return str(read.value)


def test_every_file_reads_as_it_was_published(version: Version) -> None:
    assert [file.file for file in version.files()] == [FILE, "members/rf.onnx", "golden.npz"]
    assert [version.read(file.file) for file in version.files()] == [CNN, FOREST, GOLDEN]
    for file in version.files():
        version.check(file.file)


def test_a_large_file_reads_into_memory_of_its_own(version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    assert version.buffer(FILE) == CNN
    monkeypatch.setattr("model_repo.store.version.BUFFER_FROM_BYTES", 1)
    buffer = version.buffer(FILE)
    assert isinstance(buffer, memoryview)
    assert (buffer.tobytes(), buffer.readonly) == (CNN, True)


def test_the_digest_is_of_the_manifest_s_bytes(version: Version, folder: Path) -> None:
    assert version.digest == hashlib.sha256((folder / "ensemble.json").read_bytes()).hexdigest()


def test_another_size_is_refused_with_both_sizes(version: Version, folder: Path) -> None:
    (folder / FILE).write_bytes(CNN + b"!")
    assert refusal(version) == f"digits/1/members/cnn.onnx has {len(CNN) + 1} bytes, the manifest says {len(CNN)}"


def test_another_content_of_the_same_size_is_refused_with_both_digests(version: Version, folder: Path) -> None:
    (folder / FILE).write_bytes(bytes(len(CNN)))
    given, expected = hashlib.sha256(bytes(len(CNN))).hexdigest(), hashlib.sha256(CNN).hexdigest()
    assert refusal(version) == (
        f"digits/1/members/cnn.onnx has sha256 {given[:16]}…, the manifest says {expected[:16]}…"
    )


def test_a_truncated_file_is_refused(version: Version, folder: Path) -> None:
    (folder / FILE).write_bytes(b"")
    assert refusal(version) == f"digits/1/members/cnn.onnx has 0 bytes, the manifest says {len(CNN)}"


def test_a_file_of_a_terabyte_is_refused_before_it_is_read(version: Version, folder: Path) -> None:
    os.truncate(folder / FILE, 10**12)
    assert refusal(version) == f"digits/1/members/cnn.onnx has {10**12} bytes, the manifest says {len(CNN)}"


def test_a_missing_file_is_named(version: Version, folder: Path) -> None:
    (folder / FILE).unlink()
    assert refusal(version) == "digits/1/members/cnn.onnx is missing"


def test_a_version_that_was_removed_misses_its_files(version: Version, folder: Path) -> None:
    shutil.rmtree(folder)
    assert refusal(version) == "digits/1/members/cnn.onnx is missing"


def test_a_file_larger_than_a_read_is_checked_to_its_end(tmp_path: Path) -> None:
    content = bytearray(os.urandom(3 * 2**20 + 17))
    repository = Repository(tmp_path)
    with repository.stage("digits") as staging:
        big, golden = staging.add(FILE, bytes(content)), staging.add("golden.npz", GOLDEN)
        rows = Golden(file=golden.file, sha256=golden.sha256, bytes=golden.bytes, rows=1)
        staging.publish(manifest(version=1, members=(member("cnn", big),), golden=rows))
    version = repository.open("digits", 1)
    version.check(FILE)
    assert version.read(FILE) == content
    content[-1] ^= 1
    (tmp_path / "digits" / "1" / FILE).write_bytes(content)
    assert "has sha256" in refusal(version)


def test_external_files_lie_beside_their_model_and_the_learned_rule_is_a_file_too() -> None:
    weights = File(file="weights/cnn.data", sha256="a" * 64, bytes=9)
    cnn = member("cnn", external=(weights,))
    learned = Stacked(file="fusion.onnx", sha256="b" * 64, bytes=3, fallback=Mean())
    version = Version("digits", 1, manifest(members=(cnn,), fusion=learned), "", Path())
    assert [file.file for file in version.files()] == [
        "members/cnn.onnx",
        "members/weights/cnn.data",
        "fusion.onnx",
        "golden.npz",
    ]
    assert member_files(cnn)[1] == msgspec.structs.replace(weights, file="members/weights/cnn.data")


def test_a_file_that_two_members_share_is_listed_once() -> None:
    twins = (member("a", file="m.onnx"), member("b", file="m.onnx", temperature=2.0))
    version = Version("digits", 1, manifest(members=twins), "", Path())
    assert [file.file for file in version.files()] == ["m.onnx", "golden.npz"]
