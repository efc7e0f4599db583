"""Chinese and English texts from files to a served ensemble: the whole command line, and a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exporter.cli.export import main
from model_repo import Repository, Version
from tests.e2e.process import ServerProcess, serving
from tests.exporter.text.samples import chinese, english, write_csv

pytestmark = pytest.mark.timeout(300)

RECIPE = """
name = "reviews"
task = "classification"
[data]
source = "texts"
[data.tokenizers.tokens]
vocabulary = 200
max_tokens = 16
[data.tokenizers.windows]
model = "bpe"
vocabulary = 200
max_tokens = 8
windows = { stride = 6, most = 3 }
[split]
folds = 0
golden = 6
[fusion]
keep = "all"
quorum = 1
[acceptance]
best_single = false
[members.linear]
family = "linear"
buckets = 256
[members.cnn]
family = "cnn"
tokens = "windows"
size = 16
filters = 12
training = { epochs = 4, learning_rate = 8e-3 }
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version published by `tutti export` from a CSV of Chinese reviews and English news."""
    folder = tmp_path_factory.mktemp("export")
    write_csv(folder / "train.csv", [*chinese(160), *english(160)])
    (folder / "reviews.toml").write_text(RECIPE, encoding="utf-8")
    arguments = ["--data", str(folder), "--repository", str(folder / "models"), "--report", str(folder / "report")]
    assert main([str(folder / "reviews.toml"), *arguments, "--workers", "1"]) == 0
    return folder / "models"


@pytest.fixture(scope="module")
def version(repository: Path) -> Version:
    return Repository(repository).open("reviews", 1)


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[ServerProcess]:
    with serving(repository) as process:
        yield process


def test_the_version_holds_its_tokenizers_and_raw_golden_texts(version: Version) -> None:
    manifest = version.manifest
    assert [(entry.name, entry.stride, entry.max_windows) for entry in manifest.tokenizers] == [
        ("tokens", None, None), ("windows", 6, 3),
    ]  # fmt: skip
    assert [entry.name for entry in manifest.inputs] == ["text"]
    assert manifest.classes == ("market", "sport", "好评", "差评")
    for entry in manifest.tokenizers:
        assert "model" in json.loads(version.read(entry.file))
    with np.load(Path(version.root) / "reviews" / "1" / manifest.golden.file) as golden:
        texts = golden["input:text"]
        assert texts.dtype.kind == "U"
        assert any("一" <= character <= "鿿" for text in texts for character in text)
        assert set(golden.files) == {"input:text", "members", "fused"}


def test_texts_are_answered_by_every_way_of_asking(server: ServerProcess) -> None:
    server.wait_served("reviews", 1)
    texts = ["精彩喜欢值得推荐", "无聊失望浪费", "the team league goal win", "bank stock profit trade"]
    answer = server.json(
        "POST",
        "/v2/models/reviews/infer",
        {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [4], "data": texts}]},
    )
    labels = next(output["data"] for output in answer["outputs"] if output["name"] == "label")
    assert labels == ["好评", "差评", "sport", "market"]
    rows = server.json("POST", "/v1/models/reviews:predict", {"instances": texts})["predictions"]
    assert [row["label"] for row in rows] == labels
    status, _, content = server.request(
        "POST", "/v1/models/reviews:predict", texts[0].encode(), {"Content-Type": "text/plain; charset=utf-8"}
    )
    assert status == 200
    assert json.loads(content)["predictions"][0]["label"] == "好评"


def test_clients_see_the_text_alone(server: ServerProcess) -> None:
    metadata = server.json("GET", "/v2/models/reviews")
    assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]


def test_bytes_that_are_not_utf_8_fail_their_own_request(server: ServerProcess) -> None:
    for body, media in ((b"\xff\xfe", "text/plain"), (b'{"instances": ["\xff"]}', "application/json"),
                        (b'{"instances": ["\\ud800"]}', "application/json")):  # fmt: skip
        status, _, content = server.request("POST", "/v1/models/reviews:predict", body, {"Content-Type": media})
        assert status == 400, content
    header = json.dumps(
        {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}}]}
    ).encode()
    status, _, content = server.request(
        "POST", "/v2/models/reviews/infer", header + b"\x02\x00\x00\x00\xff\xfe",
        {"Inference-Header-Content-Length": str(len(header))},
    )  # fmt: skip
    assert status == 400
    assert "not UTF-8" in json.loads(content)["error"]
    assert server.json("POST", "/v1/models/reviews:predict", {"instances": ["好看"]})["predictions"]


def test_empty_and_endless_texts_are_answered(server: ServerProcess) -> None:
    texts = ["", " ", "goal " * 20_000, "好" * 100_000, "\x00\u200d😀"]
    rows = server.json("POST", "/v1/models/reviews:predict", {"instances": texts})["predictions"]
    assert len(rows) == 5
    assert rows[2]["label"] == "sport"
    for row in rows:
        assert sum(row["probabilities"]) == pytest.approx(1.0, abs=1e-4)


def test_an_answer_does_not_hang_on_its_batch_mates(server: ServerProcess) -> None:
    def probabilities(texts: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        rows = server.json("POST", "/v1/models/reviews:predict", {"instances": texts})["predictions"]
        return np.array([row["probabilities"] for row in rows])

    alone, together = probabilities(["精彩"]), probabilities(["精彩", "goal " * 500])
    np.testing.assert_allclose(alone[0], together[0], atol=1e-5)
