"""Virtual environments of peers: taken as they are, or refused with a reason."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from loadtest.peers import environments
from loadtest.peers.catalogue import CATALOGUE
from loadtest.peers.environments import default_folder, pinned, prepare
from loadtest.peers.errors import PeerEnvironmentError


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "requirements"
    folder.mkdir()
    monkeypatch.setattr(environments, "REQUIREMENTS", folder)
    return folder


@pytest.fixture
def present(tmp_path: Path) -> Path:
    """A folder that holds an environment called `here`: an interpreter that has this program's packages."""
    python = tmp_path / "here" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="ascii")
    python.chmod(0o755)
    return tmp_path


def test_every_peer_is_pinned() -> None:
    for family in {peer.family for peer in CATALOGUE if peer.kind == "peer"}:
        assert {"onnxruntime", "numpy"} < set(pinned(family))


def test_an_environment_that_holds_the_pins_is_taken_as_it_is(requirements: Path, present: Path) -> None:
    version = importlib.metadata.version("numpy")
    (requirements / "here.txt").write_text(f"numpy=={version}\n", encoding="ascii")
    told: list[str] = []
    found = prepare("here", present, told.append)
    assert found.versions == {"numpy": version}
    assert told == []


def test_a_failed_installation_names_the_peer_and_the_log(
    requirements: Path, present: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (requirements / "here.txt").write_text("tutti-absent-package==1.0\n", encoding="ascii")
    with pytest.raises(PeerEnvironmentError, match=r"peer 'here': pip failed: .*here\.log"):
        prepare("here", present)


def test_an_unknown_peer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PeerEnvironmentError, match="peer 'abacus' has no requirements"):
        prepare("abacus", tmp_path)


def test_a_requirement_without_a_pin_is_refused(requirements: Path) -> None:
    (requirements / "loose.txt").write_text("numpy>=2\n", encoding="ascii")
    with pytest.raises(PeerEnvironmentError, match=r"'numpy>=2' is not pinned"):
        pinned("loose")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="ascii")
    with pytest.raises(PeerEnvironmentError, match="peer 'mosec': cannot create"):
        prepare("mosec", tmp_path / "file")


def test_an_interpreter_that_does_not_run_is_refused(requirements: Path, present: Path) -> None:
    (requirements / "here.txt").write_text("numpy==1\n", encoding="ascii")
    (present / "here" / "bin" / "python").write_text("#!/bin/sh\necho broken >&2; exit 3\n", encoding="ascii")
    with pytest.raises(PeerEnvironmentError, match="does not run: broken"):
        prepare("here", present)


def test_environments_are_kept_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "tutti-peers"
