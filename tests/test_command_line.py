"""`tutti`: each command is imported only when used, and a wrong call gets one line."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from model_repo.cli import distribution
from tutti import COMMANDS, main

ROOT = Path(__file__).parent.parent


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tutti", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_usage_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in COMMANDS)
    assert "tutti --version" in told


def test_no_command_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: tutti" in capsys.readouterr().out


def test_an_unknown_command_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["srve"]) == 2
    assert (
        capsys.readouterr().err
        == f"tutti: unknown command 'srve'; there are {', '.join(COMMANDS)}; did you mean serve?\n"
    )


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
        (["serve", "--prot", "8000"], "tutti serve: unknown flag --prot; did you mean --port?"),
        (["serve", "--repo", "models"], "tutti serve: unknown flag --repo; did you mean --repository?"),
        (["serve", "--control-tokn", "s3cret"], "tutti serve: unknown flag --control-tokn; did you mean --control-tok"),
        (["repo", "list", "--repository", "nowhere"], "tutti repo: "),
        (["repo", "lst"], "tutti repo: unknown command 'lst'; there are list, show"),
        (["export", "digits", "--presett", "fast"], "tutti export: unknown flag --presett; did you mean --preset?"),
        (["export", "digit"], "tutti export: recipe 'digit': is no file, and the recipes are "),
        (["publish", "x", "--membr", "a=b"], "tutti publish: unknown flag --membr; did you mean --member?"),
        (["refit", "x", "--dorp", "a"], "tutti refit: unknown flag --dorp; did you mean --drop?"),
        (["loadtest", "http://x", "--row", "1"], "tutti loadtest: unknown flag --row; did you mean --rows?"),
        (["demo", "--prot", "1"], "tutti demo: unknown flag --prot; did you mean --port?"),
        (["export", "nothing"], "tutti export: "),
        (["export", "digits", "--repository", __file__], f"tutti export: model repository {__file__} cannot be made: "),
        (["demo", "--port", "x"], "tutti demo: --port: port = 'x' is refused: expected a whole number"),
        (["serve", "--config", "nowhere.toml"], "tutti serve: settings file 'nowhere.toml' cannot be read: No such"),
        (["publish", "x", "--member", "a=b", "--classes", "no"], "tutti publish: --classes: 'no' is no list A,B,C and"),
        (["help", "nothing"], "tutti: unknown command 'nothing'"),
        (["version"], "tutti: unknown command 'version'; there are"),
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
    assert "Errno" not in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("more", [[], ["--fronts", "1"]])
def test_a_port_in_use_is_said_once(tmp_path: Path, more: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--repository", str(tmp_path), "--port", str(port), *more)
    assert done.returncode == 2
    assert done.stderr == (
        f"tutti serve: cannot listen on 127.0.0.1:{port}: another program listens there; "
        "stop it or choose another --port\n"
    )


@pytest.mark.parametrize("words", [["--help"], ["repo", "--help"], ["publish", "--help"], ["--version"]])
def test_a_reader_that_left_gets_no_traceback(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        command = [sys.executable, "-m", "tutti", *words]
        done = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.returncode in (0, 1)


def test_a_command_that_is_interrupted_while_it_loads_says_only_that() -> None:
    code = """
import importlib, signal, tutti
def slow(name):
    signal.raise_signal(signal.SIGINT)
    raise ImportError("initialization failed")
importlib.import_module = slow
raise SystemExit(tutti.main(["inspect", "a.onnx"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, "tutti inspect: interrupted\n")


def test_help_of_a_command_is_that_commands_help() -> None:
    assert run("help", "repo").stdout == run("repo", "--help").stdout != ""


def test_the_demo_trains_nothing_where_its_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("demo", "--repository", str(tmp_path / "new"), "--port", str(taken.getsockname()[1]))
    assert (done.returncode, done.stderr.count("another program listens there")) == (2, 1)
    assert not (tmp_path / "new").exists()


def test_an_address_that_is_not_this_machines_is_said_once(tmp_path: Path) -> None:
    done = run("serve", "--repository", str(tmp_path), "--host", "192.0.2.1", "--port", "0")
    assert done.returncode == 2
    assert done.stderr == "tutti serve: cannot listen on 192.0.2.1:0: Cannot assign requested address\n"


def test_no_hint_installs_the_other_project_of_the_name() -> None:
    described = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert described["name"] == distribution.NAME == "tutti-serve"
    assert distribution.install_extra("export") == "pip install 'tutti-serve[export]'"
    assert set(described["optional-dependencies"]) >= {"export", "loadtest"}, "what hints name"
    folders = [ROOT / name for name in ("docs", "model_repo", "server", "exporter", "loadtest")]
    found = [*ROOT.iterdir(), *(path for folder in folders for path in folder.rglob("*"))]
    sources = [
        path for path in found if path.suffix in (".py", ".md", ".toml") or path.name in ("Makefile", "Dockerfile")
    ]
    for path in sources:
        text = path.read_text(encoding="utf-8")
        assert "tutti[" not in text, path
        assert not re.search(r"install ['\"]?tutti(?!-serve)\b", text), path
        assert 'version("tutti")' not in text, path


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tutti {distribution.version()}\n"


def test_source_that_is_not_installed_has_a_version_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "NAME", "a-name-that-nothing-is-installed-under")
    assert distribution.version() == "0+unknown"
