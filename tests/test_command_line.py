"""`tutti`: each command is imported only when used, and a wrong call gets one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tutti import COMMANDS, main


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tutti", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_usage_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in COMMANDS)


def test_no_command_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: tutti" in capsys.readouterr().out


def test_an_unknown_command_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["srve"]) == 2
    assert capsys.readouterr().err == f"tutti: unknown command 'srve'; there are {', '.join(COMMANDS)}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: tutti {name}")


def test_the_light_commands_import_no_heavy_library() -> None:
    code = "import sys, tutti; tutti.main(['repo', '--help'])"
    probe = "print([m for m in ('torch', 'sklearn', 'onnxruntime', 'litestar', 'numpy') if m in sys.modules])"
    program = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n{probe}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serve", "--repository", "nowhere"], "tutti serve: the model repository 'nowhere' is not a folder"),
        (["serve", "--port", "x"], "tutti serve: --port: port = 'x' is refused"),
        (["repo", "list", "--repository", "nowhere"], "tutti repo: "),
        (["export", "nothing"], "tutti export: "),
        (["publish", "x", "--member", "y"], "tutti publish: --member: 'y' given, expected NAME=…"),
        (["refit", "x", "--member", "y"], "tutti refit: --member: 'y' given, expected NAME=…"),
        (["refit", "x", "--repository", "nowhere"], "tutti refit: "),
        (["loadtest", "ftp://x"], "tutti loadtest: "),
    ],
)
def test_a_wrong_call_gets_one_line(words: list[str], message: str) -> None:
    done = run(*words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
