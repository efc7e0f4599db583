"""The command line: exit statuses that scripts gate on, files, and errors in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.loadtest.scripted_server import Answer, ScriptedServer
from tutti import main

QUICK = ["--rate", "100", "--duration", "0.4", "--warmup", "0"]


def test_a_run_without_failures_exits_0_and_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(lambda request: Answer()) as server:
        assert main(["loadtest", server.url, *QUICK]) == 0
    printed = capsys.readouterr()
    assert "p99.9" in printed.out
    assert printed.out.endswith("passed\n")
    assert printed.err == ""


def test_a_run_with_failures_exits_1_and_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    full = Answer(503, b'{"error": "queue is full"}')
    with ScriptedServer(lambda request: full if request.number > 10 else Answer()) as server:
        assert main(["loadtest", server.url, *QUICK]) == 1
    assert "refused (503: queue is full)" in capsys.readouterr().out


def test_json_is_all_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(lambda request: Answer()) as server:
        assert main(["loadtest", server.url, *QUICK, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is True
    assert report["outcomes"]["ok"]["count"] == report["requests"]


def test_a_folder_is_made_with_text_json_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "reports" / "first"
    with ScriptedServer(lambda request: Answer()) as server:
        assert main(["loadtest", server.url, *QUICK, "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["latency.png", "report.json", "report.txt"]
    assert json.loads((out / "report.json").read_text())["ensemble"] == "digits"
    assert (out / "report.txt").read_text() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ftp://models"], "'ftp://models' is not a server's URL"),
        (["URL", "--scenario", "chaos"], "unknown scenario 'chaos'; there are steady, ramp, overload, swap, soak"),
        (["URL", "--ensemble", "irises"], "ensemble 'irises': 404"),
        (["URL", "--scenario", "swap"], "needs one of --repository DIR and --swap-command CMD"),
        (["URL", "--out", "FILE/reports"], "cannot make the folder"),
    ],
)
def test_an_error_is_one_line_and_exits_2(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with ScriptedServer(lambda request: Answer()) as server:
        given = [word.replace("URL", server.url).replace("FILE", str(tmp_path / "file")) for word in arguments]
        assert main(["loadtest", *given]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("tutti loadtest: ")
    assert said in printed.err
