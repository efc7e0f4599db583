"""Hostile versions are refused with a message that names the thing, by every way of reading them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from model_repo import IntegrityError, Repository, RepositoryError, UnsafePathError
from model_repo.format.paths import open_file
from tests.model_repo.samples import published
from tests.model_repo.store.attacks import ATTACKS, CNN, MANIFEST, Attack


def spoilt(tmp_path: Path, attack: Attack) -> Repository:
    repository = published(tmp_path / "models")
    outside = tmp_path / "outside" / "digits" / "1"
    shutil.copytree(tmp_path / "models" / "digits" / "1", outside)
    attack.spoil(tmp_path / "models" / "digits" / "1", outside)
    return repository


def read(repository: Repository, way: str, file: str) -> None:
    version = repository.open("digits", 1)
    if way == "read":
        version.read(file)
    else:
        version.check(file)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@pytest.mark.parametrize("way", ["read", "check"])
def test_a_hostile_version_is_refused_when_it_is_read(tmp_path: Path, attack: Attack, way: str) -> None:
    repository = spoilt(tmp_path, attack)
    with pytest.raises(attack.error) as caught:
        read(repository, way, attack.file)
    assert str(caught.value) == attack.message
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_hostile_version_is_refused_by_verify(tmp_path: Path, attack: Attack) -> None:
    repository = spoilt(tmp_path, attack)
    with pytest.raises(attack.error) as caught:
        repository.verify("digits", 1)
    assert attack.message in str(caught.value)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_hostile_version_harms_no_other_ensemble(tmp_path: Path, attack: Attack) -> None:
    published(tmp_path / "models", name="letters")
    repository = spoilt(tmp_path, attack)
    aspired = repository.aspired()
    assert aspired["letters"].stable == 1
    assert aspired["digits"].problem or aspired["digits"].stable == 1


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if attack.name != "the ensemble is a link"],
                         ids=lambda attack: attack.name)  # fmt: skip
def test_the_signature_tells_a_hostile_version_from_the_mended_one(tmp_path: Path, attack: Attack) -> None:
    pristine = tmp_path / "pristine"
    repository = published(tmp_path / "models")
    folder = tmp_path / "models" / "digits" / "1"
    before = repository.signature("digits", 1)
    shutil.copytree(folder, pristine)
    outside = tmp_path / "outside" / "1"
    shutil.copytree(folder, outside)
    attack.spoil(folder, outside)
    assert repository.signature("digits", 1) != before


def test_opening_a_version_that_is_replaced_by_a_link_after_the_look_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race between the look and the open: the open itself refuses to follow."""
    repository = published(tmp_path / "models")
    file = tmp_path / "models" / "digits" / "1" / CNN
    honest = file.stat()
    file.rename(tmp_path / "moved")
    file.symlink_to(tmp_path / "moved")

    real_stat: Callable[..., object] = os.stat
    monkeypatch.setattr(
        os,
        "stat",
        lambda path, **options: honest if path == "cnn.onnx" else real_stat(path, **options),
    )
    with pytest.raises(UnsafePathError, match=r"^digits/1/members/cnn\.onnx is a symbolic link$"):
        repository.open("digits", 1).read(CNN)


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    published(tmp_path / "models")
    (tmp_path / "link").symlink_to(tmp_path / "models")
    version = Repository(tmp_path / "link").open("digits", 1)
    version.check(CNN)


def test_a_file_that_is_not_named_is_refused(tmp_path: Path) -> None:
    version = published(tmp_path).open("digits", 1)
    for file in (MANIFEST, "../../x", "/etc/passwd", "members", ""):
        with pytest.raises(IntegrityError, match="is not named in the manifest"):
            version.read(file)


def test_a_device_is_never_opened(tmp_path: Path) -> None:
    """A link below the root is refused, and the root itself may be any folder, so `/dev` serves as one."""
    with pytest.raises(UnsafePathError, match=r"^zero is a device, expected a file$"), open_file(Path("/dev"), "zero"):
        raise RepositoryError("opened")
