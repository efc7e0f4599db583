"""What the README tells a newcomer to type does what it says, on a real export of the digits."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.process import ServerProcess, serving

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
CURL_LINES = re.findall(r"^curl .+$", README, re.MULTILINE)
pytestmark = pytest.mark.timeout(1000)


@pytest.fixture(scope="module")
def server(digits_repository: Path) -> Iterator[ServerProcess]:
    with serving(digits_repository) as running:
        yield running


def curl(line: str, port: int) -> str:
    words = shlex.split(line.replace("localhost:8000", f"127.0.0.1:{port}"))
    done = subprocess.run([*words, "--fail-with-body", "--max-time", "20"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout


def test_the_readme_has_the_lines_that_the_tests_run() -> None:
    assert len(CURL_LINES) == 5


@pytest.mark.parametrize("line", CURL_LINES, ids=lambda line: line.split()[2].removeprefix("localhost:8000"))
def test_every_curl_line_answers(server: ServerProcess, line: str) -> None:
    answer = curl(line, server.port)
    if ":predict" in line:
        prediction = json.loads(answer)["predictions"][0]
        assert prediction["label"] == "0", "the row in the README is a handwritten zero"
        assert abs(sum(prediction["probabilities"]) - 1) < 1e-4
    elif line.endswith("}'"):
        outputs = {output["name"]: output["data"] for output in json.loads(answer)["outputs"]}
        assert list(outputs) == ["label", "confidence", "agreement"]
        assert outputs["label"] == ["0"]
    elif "/metrics" in line:
        assert "tutti_requests_total" in answer


def test_the_python_client_of_the_readme_answers(server: ServerProcess) -> None:
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    program = code.replace("localhost:8000", server.address)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith(" 1")


def test_a_picture_is_answered(server: ServerProcess, tmp_path: Path) -> None:
    from PIL import Image

    row = json.loads(re.search(r"\[\[\[.*?\]\]\]", README).group())[0]  # type: ignore[union-attr]  # the README has one
    path = tmp_path / "zero.png"
    Image.fromarray((np.array(row) * 255 / 16).astype(np.uint8)).resize((8, 8)).save(path)
    status, headers, body = server.request(
        "POST", "/v1/models/digits:predict", path.read_bytes(), {"Content-Type": "image/png"}
    )
    assert (status, headers["tutti-version"]) == (200, "1"), body
    assert json.loads(body)["predictions"][0]["label"] == "0"
