"""Servers as child processes: found when ready, and gone with their children."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from loadtest.peers.errors import PeerServerError
from loadtest.peers.process import free_port, running

# Starts a grandchild in a session of its own that ignores SIGTERM, writes its number, and waits.
STUBBORN = """\
import subprocess, sys, signal, pathlib
child = subprocess.Popen(
    [sys.executable, "-c", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"],
    start_new_session=True)
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
signal.pause()
"""


def _alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def test_a_server_is_ended_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    command = [sys.executable, "-c", STUBBORN, str(note)]
    ready = lambda: note.exists() and bool(note.read_text())  # noqa: E731
    with running("stubborn", command, free_port(), tmp_path / "log", ready=ready, limit_s=30) as server:
        grandchild = int(note.read_text())
        assert _alive(grandchild)
        assert server.rss_bytes() > 0
        assert server.cpu_s() >= 0
    assert not _alive(grandchild)
    assert not _alive(server.process.pid)


def test_a_server_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print('no such model'); sys.exit(3)"]
    with (
        pytest.raises(PeerServerError, match="early ended with status 3: no such model"),
        running("early", command, 0, tmp_path / "log", ready=lambda: False, limit_s=30),
    ):
        pytest.fail("it was never ready")


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    with (
        pytest.raises(PeerServerError, match=r"mute did not answer within 0.2 s: its log is empty"),
        running("mute", command, 0, tmp_path / "log", ready=lambda: False, limit_s=0.2),
    ):
        pytest.fail("it was never ready")


def test_a_server_sees_nothing_of_this_programs_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    command = [sys.executable, "-c", "import os, sys; sys.exit('PYTHONPATH' in os.environ)"]
    with (
        pytest.raises(PeerServerError, match="status 0"),
        running("clean", command, 0, tmp_path / "log", ready=lambda: False, limit_s=30),
    ):
        pytest.fail("it was never ready")
