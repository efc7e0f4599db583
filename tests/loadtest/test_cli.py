"""The command line: exit statuses that scripts gate on, files, and errors in one line."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.loadtest.scripted_server import Answer, ScriptedServer
from tutti import main

QUICK = ["--rate", "100", "--duration", "0.4", "--warmup", "0"]


def unless_saturated(status: int, printed: str) -> bool:
    """A machine that is busy with other things may keep the generator from keeping up; then 1 is right, and said."""
    return status == (1 if "FAILED: the generator was saturated" in printed else 0)


def test_a_run_without_failures_exits_0_and_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(lambda request: Answer()) as server:
        status = main(["loadtest", server.url, *QUICK])
    printed = capsys.readouterr()
    assert "p99.9" in printed.out
    assert unless_saturated(status, printed.out)
    assert printed.out.endswith("passed\n") == (status == 0)
    assert printed.err == ""


def test_a_run_with_failures_exits_1_and_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    full = Answer(503, b'{"error": "queue is full"}')
    with ScriptedServer(lambda request: full if request.number > 10 else Answer()) as server:
        assert main(["loadtest", server.url, *QUICK]) == 1
    assert "refused (503: queue is full)" in capsys.readouterr().out


def test_json_is_all_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(lambda request: Answer()) as server:
        status = main(["loadtest", server.url, *QUICK, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is not report["client"]["saturated"]
    assert status == (0 if report["passed"] else 1)
    assert report["outcomes"]["ok"]["count"] == report["requests"]


def test_a_folder_is_made_with_text_json_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "reports" / "first"
    with ScriptedServer(lambda request: Answer()) as server:
        status = main(["loadtest", server.url, *QUICK, "--out", str(out)])
    printed = capsys.readouterr().out
    assert unless_saturated(status, printed)
    assert sorted(path.name for path in out.iterdir()) == ["latency.png", "report.json", "report.txt"]
    assert json.loads((out / "report.json").read_text())["ensemble"] == "digits"
    assert (out / "report.txt").read_text() in printed


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


class _Pages(BaseHTTPRequestHandler):
    """A web server that has nothing to do with models: the same page wherever one looks."""

    def do_GET(self) -> None:
        self.send_response(self.server.status)  # type: ignore[attr-defined]  # set below
        self.send_header("Content-Length", "21")
        self.end_headers()
        self.wfile.write(b"<html>Welcome!</html>")

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "does not answer as a Tutti server: GET /v2 gives 404; expected the address that 'tutti serve' prints"),
        (200, "is not a Tutti server: what GET /v2 gives is no server's metadata"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--ensemble", "digits"]])
def test_a_server_that_is_none_of_ours_is_told_apart(
    status: int, said: str, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        server.status = status  # type: ignore[attr-defined]  # for the handler
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            assert main(["loadtest", f"http://127.0.0.1:{server.server_port}", *QUICK, *more]) == 2
        finally:
            server.shutdown()
            thread.join()
    told = capsys.readouterr().err
    assert said in told
    assert "html" not in told
    assert told.count("\n") == 1
