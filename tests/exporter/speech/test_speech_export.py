"""A whole export of spoken words: published, and answering with classes and transcripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exporter.cli.export import main
from exporter.speech.clips import padded
from model_repo import Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.exporter.speech.samples import WORDS, word, write_folder

pytestmark = pytest.mark.timeout(900)

RECIPE = """
name = "words"
task = "classification"
[data]
source = "speech"
labels = ["zero", "one", "two"]
[split]
fusion = 0.4
golden = 3
folds = 0
[fusion]
keep = "all"
rules = ["mean"]
[acceptance]
accuracy = 0.9
best_single = false
[members.transducer]
family = "transducer"
hidden = 24
dropout = 0
string_rows = 8
joining = {tokens = [1, 3]}
transcript_tokens = 3
training = {epochs = 80, batch_rows = 8, learning_rate = 0.01}
[members.wavelet]
family = "wavelet"
leaves = 4
trees = 15
segments = 3
parts = 1
copies = 1
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    data = write_folder(folder / "recordings", 24).parent
    (folder / "words.toml").write_text(RECIPE)
    arguments = [str(folder / "words.toml"), "--data", str(data), "--repository", str(folder / "models"),
                 "--report", str(folder / "report"), "--workers", "1"]  # fmt: skip
    assert main(["--json", *arguments]) == 0
    return folder / "models"


@pytest.fixture(scope="module")
def ensemble(models: Path) -> Iterator[LoadedEnsemble]:
    version = Repository(models).open("words", 1)
    loaded = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    yield loaded
    loaded.close()


def test_the_version_offers_a_transcript_and_reports_its_errors(models: Path) -> None:
    manifest = Repository(models).manifest("words", 1)
    (extra,) = manifest.extras
    assert (extra.name, extra.datatype, extra.shape) == ("transcript", "INT64", (-1, 3))
    members = manifest.report["members"]
    assert members["transducer"]["token_error_rate"] < 0.3
    assert "token_error_rate" not in members["wavelet"]
    assert [member.family for member in manifest.members] == ["transducer", "wavelet"]


def test_golden_rows_hold_the_transcripts_too(ensemble: LoadedEnsemble) -> None:
    ensemble.check_golden()


def test_clips_of_any_length_are_answered(ensemble: LoadedEnsemble) -> None:
    clips = [word(k, 900 + k) for k in range(3)]
    short = ensemble.predict({"audio": padded(clips)}, ["probabilities"]).outputs["probabilities"]
    assert [WORDS[place] for place in short.argmax(axis=1)] == list(WORDS)
    long_ = ensemble.predict({"audio": padded(clips, 30_000)}, ["probabilities"]).outputs["probabilities"]
    assert np.allclose(short, long_, atol=1e-4)
    one = ensemble.predict({"audio": clips[1][None]}, ["probabilities"]).outputs["probabilities"]
    assert np.allclose(one[0], short[1], atol=1e-4)


def test_a_string_of_words_is_transcribed_where_asked(ensemble: LoadedEnsemble) -> None:
    silence = np.zeros(600, dtype=np.float32)
    said = [[0, 2, 1], [1, 0], [2]]
    strings = [np.concatenate([piece for k in row for piece in (_levelled(k), silence)]) for row in said]
    answer = ensemble.predict({"audio": padded(strings)}, ["transcript", "label"]).outputs
    assert answer["transcript"].shape == (3, 3)
    found = [[token for token in row if token >= 0] for row in answer["transcript"].tolist()]
    right = sum(left == right for left, right in zip(found, said, strict=True))
    assert right >= 2, found
    plain = ensemble.predict({"audio": padded(strings)}, ensemble.default_outputs).outputs
    assert "transcript" not in plain


def _levelled(k: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    sound = word(k, 500 + k)
    levelled: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = (sound / np.abs(sound).max() * 0.5).astype(np.float32)
    return levelled
