"""Temporary folders: a dead owner's are removed, a living one's never."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model_repo.store.owner import STALE_AFTER_S, is_abandoned, owned_name
from tests.model_repo.samples import manifest, publish, published
from tests.model_repo.store.test_staging import staged


def folder(tmp_path: Path, name: str) -> Path:
    made = tmp_path / "digits" / name
    (made / "members").mkdir(parents=True)
    (made / "members" / "cnn.onnx").write_bytes(b"half")
    return made


def renamed(name: str, **parts: str) -> str:
    """An owned name with its domain, pid or start replaced."""
    dot_purpose, domain, pid, start, rest = name.split("-")
    own = {"domain": domain, "pid": pid, "start": start} | parts
    return "-".join([dot_purpose, own["domain"], own["pid"], own["start"], rest])


def aged(path: Path, seconds: float) -> Path:
    then = time.time() - seconds
    for each in (*path.rglob("*"), path):
        os.utime(each, (then, then))
    return path


def test_a_name_is_hidden_and_never_given_twice() -> None:
    names = {owned_name("staging") for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(".staging-") for name in names)


def test_what_a_living_process_stages_is_kept(tmp_path: Path) -> None:
    repository = published(tmp_path)
    with repository.stage("digits") as staging:
        made = staged(staging)
        other = "from tests.model_repo.samples import *; import sys; publish(Repository(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", other, str(tmp_path)], cwd=Path(__file__).parents[3], check=True)
        assert repository.collect("digits") == []
        assert made.version == 2
        staging.publish(manifest(version=3, members=made.members, golden=made.golden))
    assert repository.versions("digits") == [1, 2, 3]


def test_what_a_dead_process_staged_is_removed_by_the_next_publish(tmp_path: Path) -> None:
    repository = published(tmp_path)
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left = folder(tmp_path, renamed(owned_name("staging"), pid=ended.stdout.decode().strip()))
    publish(repository)
    assert not left.exists()


def test_a_later_process_with_the_same_number_is_not_the_owner(tmp_path: Path) -> None:
    repository = published(tmp_path)
    left = folder(tmp_path, renamed(owned_name("staging"), start="1"))
    assert repository.collect("digits") == [left.name]
    assert not left.exists()


def test_a_process_that_ended_but_was_not_waited_for_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        start = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        assert is_abandoned(Path(renamed(owned_name("staging"), pid=str(process.pid), start=start)))


def test_another_host_s_folder_is_kept_while_it_is_young(tmp_path: Path) -> None:
    repository = published(tmp_path)
    young = aged(folder(tmp_path, renamed(owned_name("staging"), domain="0" * 12)), STALE_AFTER_S - 600)
    assert repository.collect("digits") == []
    assert young.exists()


def test_another_host_s_folder_is_removed_when_nothing_was_written_for_a_day(tmp_path: Path) -> None:
    repository = published(tmp_path)
    old = aged(folder(tmp_path, renamed(owned_name("staging"), domain="0" * 12)), STALE_AFTER_S + 600)
    assert repository.collect("digits") == [old.name]


def test_another_host_s_folder_is_kept_while_a_file_deep_inside_is_written(tmp_path: Path) -> None:
    repository = published(tmp_path)
    busy = aged(folder(tmp_path, renamed(owned_name("staging"), domain="0" * 12)), STALE_AFTER_S + 600)
    os.utime(busy / "members" / "cnn.onnx")
    assert repository.collect("digits") == []


@pytest.mark.parametrize("name", [".git", ".staging", ".staging-x", ".staging-0-0-0-0", ".routes.lock", ".DS_Store"])
def test_hidden_names_of_others_are_kept(tmp_path: Path, name: str) -> None:
    repository = published(tmp_path)
    kept = aged(folder(tmp_path, name), 10 * STALE_AFTER_S)
    assert repository.collect("digits") == []
    assert kept.exists()


def test_a_link_with_a_dead_owner_s_name_is_removed_and_its_target_kept(tmp_path: Path) -> None:
    repository = published(tmp_path)
    (tmp_path / "precious").mkdir()
    link = tmp_path / "digits" / renamed(owned_name("staging"), start="1")
    link.symlink_to(tmp_path / "precious")
    repository.collect("digits")
    assert not link.is_symlink()
    assert (tmp_path / "precious").exists()


def test_what_cannot_be_removed_is_logged_and_harms_no_publish(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = published(tmp_path)
    left = folder(tmp_path, renamed(owned_name("staging"), start="1"))

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("model_repo.store.owner.shutil.rmtree", refuse)
    with caplog.at_level(logging.WARNING):
        assert repository.collect("digits") == []
    assert re.search(rf"{re.escape(left.name)}: left behind and cannot be removed: Permission denied", caplog.text)
