"""Publishing one version: what is checked, what is refused, what is left behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model_repo import (
    ConflictError,
    File,
    Golden,
    IntegrityError,
    Manifest,
    ManifestError,
    Repository,
    RepositoryError,
    Staging,
    UnsafePathError,
    Weighted,
)
from tests.model_repo.samples import CNN, manifest, member, publish, published, tree


def staged(staging: Staging, **fields: Any) -> Manifest:
    """Add the files of a version of one member and give its manifest."""
    cnn = staging.add("members/cnn.onnx", CNN)
    golden = staging.add("golden.npz", b"rows")
    own = manifest(
        version=staging.next_version,
        members=(member("cnn", cnn),),
        golden=Golden(file=golden.file, sha256=golden.sha256, bytes=golden.bytes, rows=1),
    )
    return msgspec.structs.replace(own, **fields)


def test_a_published_version_is_what_was_staged(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "new" / "models")
    with repository.stage("digits") as staging:
        made = staged(staging)
        assert staging.publish(made) == 1
    assert tree(tmp_path / "new" / "models" / "digits") == {
        "1",
        "1/ensemble.json",
        "1/golden.npz",
        "1/members",
        "1/members/cnn.onnx",
    }
    version = repository.open("digits", 1)
    assert version.manifest == made
    assert version.read("members/cnn.onnx") == CNN
    repository.verify("digits", 1)


def test_nothing_is_visible_before_publish(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    with repository.stage("digits") as staging:
        staged(staging)
        assert repository.versions("digits") == []
        assert repository.aspired()["digits"].stable is None


def test_a_staging_that_is_left_unpublished_is_removed(tmp_path: Path) -> None:
    with Repository(tmp_path).stage("digits") as staging:
        staged(staging)
    assert tree(tmp_path) == set()


def interrupted(repository: Repository) -> None:
    with repository.stage("digits") as staging:
        staged(staging)
        raise KeyboardInterrupt


def test_a_staging_that_raises_is_removed(tmp_path: Path) -> None:
    repository = published(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        interrupted(repository)
    assert tree(tmp_path) == before


def test_a_file_is_copied_from_a_path(tmp_path: Path) -> None:
    source = tmp_path / "cnn.onnx"
    source.write_bytes(b"x" * 3_000_000)
    with Repository(tmp_path / "models").stage("digits") as staging:
        copied = staging.add("members/cnn.onnx", source)
        assert copied == msgspec.structs.replace(staging.add("other", source.read_bytes()), file="members/cnn.onnx")
        assert copied.bytes == 3_000_000


def test_a_source_that_is_missing_is_named(tmp_path: Path) -> None:
    with (
        Repository(tmp_path).stage("digits") as staging,
        pytest.raises(RepositoryError, match=r"^digits: cannot write members/cnn\.onnx: No such file or directory$"),
    ):
        staging.add("members/cnn.onnx", tmp_path / "nowhere.onnx")


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("../cnn.onnx", "file '../cnn.onnx' contains '..'"),
        ("/cnn.onnx", "file '/cnn.onnx' is absolute"),
        ("members\\cnn.onnx", "file 'members\\\\cnn.onnx' contains a backslash"),
        ("ensemble.json", "file 'ensemble.json' is the manifest, which publish() writes"),
        ("Ensemble.JSON", "file 'Ensemble.JSON' is the manifest, which publish() writes"),
        ("\udcff", "file '\\udcff' contains a character that cannot be printed"),
    ],
)
def test_a_file_outside_the_version_is_refused(tmp_path: Path, file: str, problem: str) -> None:
    with Repository(tmp_path).stage("digits") as staging:
        with pytest.raises(UnsafePathError) as caught:
            staging.add(file, b"")
        assert str(caught.value) == f"digits: {problem}"


def test_a_file_is_added_once(tmp_path: Path) -> None:
    with Repository(tmp_path).stage("digits") as staging:
        staging.add("members/cnn.onnx", CNN)
        with pytest.raises(ConflictError, match=r"^digits: file 'members/cnn\.onnx' was added before$"):
            staging.add("members/cnn.onnx", CNN)


def refused(tmp_path: Path, change: Callable[[Staging, Manifest], Manifest], error: type[RepositoryError]) -> str:
    """The message with which publishing the changed manifest is refused, after which nothing may be left."""
    with Repository(tmp_path).stage("digits") as staging:
        changed = change(staging, staged(staging))
        with pytest.raises(error) as caught:
            staging.publish(changed)
    assert tree(tmp_path) == set()
    return str(caught.value)


def test_a_manifest_that_breaks_rules_is_refused_with_every_problem(tmp_path: Path) -> None:
    message = refused(tmp_path, lambda _, m: msgspec.structs.replace(m, quorum=5, classes=("0",)), ManifestError)
    assert message == (
        "ensemble.json of digits/1: classes has 1 name, a classification has at least 2; "
        "quorum is 5, more than the 1 member"
    )


def test_a_manifest_of_wrong_types_is_refused(tmp_path: Path) -> None:
    infinite = Weighted(temperature=float("inf"))
    message = refused(tmp_path, lambda _, m: msgspec.structs.replace(m, fusion=infinite), ManifestError)
    assert message == "ensemble.json of digits/1: fusion.temperature: expected a number above 0, got null"


def test_a_report_that_is_not_json_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, lambda _, m: msgspec.structs.replace(m, report={"x": object()}), ManifestError)
    assert message.startswith("ensemble.json of digits/1: cannot be written as JSON: ")


def test_version_0_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, lambda _, m: msgspec.structs.replace(m, version=0), ManifestError)
    assert message == "ensemble.json of digits/0: version: expected a whole number of at least 1, got 0"


def test_another_name_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, lambda _, m: msgspec.structs.replace(m, name="letters"), ManifestError)
    assert message == "ensemble.json of digits/1: name is 'letters', expected 'digits'"


def test_a_named_file_that_was_not_added_is_refused(tmp_path: Path) -> None:
    more = (File(file="cnn.onnx.data", sha256="a" * 64, bytes=1),)

    def change(_: Staging, made: Manifest) -> Manifest:
        members = (msgspec.structs.replace(made.members[0], external=more),)
        return msgspec.structs.replace(made, members=members)

    message = refused(tmp_path, change, IntegrityError)
    assert message == "ensemble.json of digits/1: file 'members/cnn.onnx.data' is named but was not added"


def test_an_added_file_that_is_not_named_is_refused(tmp_path: Path) -> None:
    def change(staging: Staging, made: Manifest) -> Manifest:
        staging.add("notes.txt", b"")
        return made

    message = refused(tmp_path, change, IntegrityError)
    assert message == "ensemble.json of digits/1: file 'notes.txt' was added but is not named"


def test_another_digest_than_the_added_file_s_is_refused(tmp_path: Path) -> None:
    def change(_: Staging, made: Manifest) -> Manifest:
        return msgspec.structs.replace(made, golden=msgspec.structs.replace(made.golden, sha256="a" * 64))

    message = refused(tmp_path, change, IntegrityError)
    assert message == "ensemble.json of digits/1: file 'golden.npz' is not what was added: another sha256 or size"


def test_a_version_that_exists_is_never_replaced_and_the_next_free_one_is_named(tmp_path: Path) -> None:
    repository = published(tmp_path, 2)
    before = repository.signature("digits", 1)
    with pytest.raises(ConflictError) as caught:
        publish(repository, version=1)
    assert str(caught.value) == "digits/1 exists already; versions never change, the next free one is 3"
    assert repository.signature("digits", 1) == before


def test_the_same_staging_publishes_under_the_next_number_after_a_conflict(tmp_path: Path) -> None:
    repository = published(tmp_path, 1)
    with repository.stage("digits") as staging:
        made = staged(staging)
        with pytest.raises(ConflictError):
            staging.publish(msgspec.structs.replace(made, version=1))
        assert staging.publish(msgspec.structs.replace(made, version=2)) == 2
    repository.verify("digits", 2)


@pytest.mark.parametrize("kind", ["file", "folder with content", "link"])
def test_whatever_has_the_version_s_name_is_never_replaced(tmp_path: Path, kind: str) -> None:
    repository = published(tmp_path, 1)
    taken = tmp_path / "digits" / "2"
    if kind == "file":
        taken.write_text("a file")
    elif kind == "link":
        taken.symlink_to(tmp_path / "digits" / "1")
    else:
        (taken / "kept").mkdir(parents=True)
    with pytest.raises(ConflictError):
        publish(repository, version=2)
    assert os.path.lexists(taken)
    assert publish(repository) == 3


def test_a_number_is_not_given_twice_even_when_its_folder_is_no_version(tmp_path: Path) -> None:
    repository = published(tmp_path, 1)
    (tmp_path / "digits" / "7" / "half-copied").mkdir(parents=True)
    assert publish(repository) == 8


def test_a_staging_is_used_up_by_publishing(tmp_path: Path) -> None:
    with Repository(tmp_path).stage("digits") as staging:
        staging.publish(staged(staging))
        with pytest.raises(RepositoryError, match="this is a bug"):
            staging.add("more", b"")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a b", "x" * 129, "digits\n"])
def test_an_ensemble_needs_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(RepositoryError, match="is not a name: expected 1 to 128 letters"):
        Repository(tmp_path).stage(name)


def test_an_ensemble_that_is_a_link_is_not_published_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "digits").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePathError, match=r"^digits is a symbolic link, expected a folder$"):
        publish(Repository(tmp_path / "models"))
    (tmp_path / "elsewhere").rmdir()
    with pytest.raises(UnsafePathError, match=r"^digits is not a folder or is a symbolic link$"):
        publish(Repository(tmp_path / "models"))


def test_a_repository_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(RepositoryError, match=r"^cannot publish digits in model repository .*models: it is no folder$"):
        publish(Repository(tmp_path / "models"))


@dataclass
class _Disk:
    """What was opened for writing, written and synced, in order, by name."""

    names: dict[int, str] = field(default_factory=dict)
    unsynced: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)


def test_every_file_and_folder_is_synced_before_the_rename_and_the_names_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut can take is what was not synced: nothing, when the version appears."""
    repository = published(tmp_path, 1)
    disk = _Disk()
    real_open, real_fsync, real_write, real_rename, real_mkdir = os.open, os.fsync, os.write, os.rename, os.mkdir

    def opened(path: Any, flags: int, *more: Any, **options: Any) -> int:
        descriptor = real_open(path, flags, *more, **options)
        disk.names[descriptor] = str(path)
        if flags & os.O_CREAT:
            disk.unsynced |= {str(path), str(Path(path).parent)}
        return descriptor

    def made(path: Any, *more: Any) -> None:
        real_mkdir(path, *more)
        disk.unsynced |= {str(path), str(Path(path).parent)}

    def written(descriptor: int, data: Any) -> int:
        disk.unsynced.add(disk.names[descriptor])
        return real_write(descriptor, data)

    def synced(descriptor: int) -> None:
        real_fsync(descriptor)
        disk.unsynced.discard(disk.names[descriptor])
        disk.log.append(f"fsync {Path(disk.names[descriptor]).name}")

    def renamed(source: Any, target: Any) -> None:
        below = {path for path in disk.unsynced if path.startswith(str(source))}
        assert below == set()
        disk.log.append("rename")
        real_rename(source, target)

    for name, wrapper in {
        "open": opened, "mkdir": made, "write": written, "fsync": synced, "rename": renamed
    }.items():  # fmt: skip
        monkeypatch.setattr(os, name, wrapper)
    publish(repository)
    assert disk.unsynced == set()
    assert disk.log[-3:] == ["rename", "fsync digits", f"fsync {tmp_path.name}"]
    assert disk.log[:4] == ["fsync cnn.onnx", "fsync rf.onnx", "fsync golden.npz", "fsync ensemble.json"]
