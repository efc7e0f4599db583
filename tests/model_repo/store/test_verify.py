"""`verify` names everything that is wrong with a version's folder, at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model_repo import IntegrityError, NotFoundError, RepositoryError, UnsafePathError
from tests.model_repo.samples import CNN, published


def test_a_sound_version_passes(tmp_path: Path) -> None:
    published(tmp_path).verify("digits", 1)


def test_every_problem_is_named(tmp_path: Path) -> None:
    repository = published(tmp_path)
    folder = tmp_path / "digits" / "1"
    (folder / "members" / "cnn.onnx").write_bytes(b"")
    (folder / "golden.npz").unlink()
    (folder / "members" / "notes.txt").write_text("")
    (folder / ".cache").mkdir()
    with pytest.raises(IntegrityError) as caught:
        repository.verify("digits", 1)
    assert str(caught.value) == (
        f"digits/1/members/cnn.onnx has 0 bytes, the manifest says {len(CNN)}; "
        "digits/1/golden.npz is missing; "
        "digits/1/.cache is a folder that the manifest does not name; "
        "digits/1/members/notes.txt is a file that the manifest does not name"
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "a symbolic link"),
        (os.mkfifo, "a pipe"),
        (Path.touch, "a file"),
        (Path.mkdir, "a folder"),
    ],
)
def test_what_the_manifest_does_not_name_is_refused(tmp_path: Path, make: object, said: str) -> None:
    repository = published(tmp_path)
    assert callable(make)
    make(tmp_path / "digits" / "1" / "extra")
    with pytest.raises(IntegrityError) as caught:
        repository.verify("digits", 1)
    assert str(caught.value) == f"digits/1/extra is {said} that the manifest does not name"


def test_a_link_is_an_unsafe_path_even_when_its_target_has_the_right_bytes(tmp_path: Path) -> None:
    repository = published(tmp_path)
    file = tmp_path / "digits" / "1" / "members" / "cnn.onnx"
    file.rename(tmp_path / "cnn.onnx")
    file.symlink_to(tmp_path / "cnn.onnx")
    with pytest.raises(UnsafePathError, match=r"members/cnn\.onnx is a symbolic link"):
        repository.verify("digits", 1)


def test_a_folder_of_countless_files_is_not_listed_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_repo.store.verify.MAX_ENTRIES", 50)
    repository = published(tmp_path)
    folder = tmp_path / "digits" / "1"
    for number in range(50):
        (folder / f"{number}").touch()
    before = repository.signature("digits", 1)
    with pytest.raises(IntegrityError, match=r"^digits/1 has more than 50 entries$"):
        repository.verify("digits", 1)
    assert repository.signature("digits", 1) == before


def test_a_version_that_is_not_there_is_not_damaged(tmp_path: Path) -> None:
    repository = published(tmp_path)
    with pytest.raises(NotFoundError):
        repository.verify("digits", 2)
    with pytest.raises(RepositoryError):
        repository.verify("letters", 1)
