"""Tokenizers learned from the fit rows alone: deterministic, for Chinese too, and what the server will make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exporter.data.dataset import Dataset
from exporter.data.splits import Split, SplitSpec
from exporter.errors import DataError
from exporter.recipe.sources import clean, split
from exporter.text.source import Texts
from exporter.text.vectors import token_vectors
from exporter.text.vocabulary import TokenizerSpec, Windows, encoder_of, trained
from tests.exporter.text.samples import chinese, english, write_csv

SPEC = TokenizerSpec(vocabulary=120, max_tokens=16)


def prepared(folder: Path, **tokenizers: TokenizerSpec) -> tuple[Dataset, Split]:
    source = Texts(tokenizers=tokenizers or {"tokens": SPEC})
    dataset, _ = clean(source.load(folder), "error")
    parts = split(dataset.rows, SplitSpec(folds=0, golden=4), 0, dataset.classes)
    return source.prepare(dataset, parts, 0), parts


@pytest.mark.parametrize("model", ["wordpiece", "bpe", "word"])
def test_one_set_of_texts_gives_one_file(model: str) -> None:
    texts = [text for _, text in [*english(60), *chinese(60)]]
    spec = TokenizerSpec(model=model, vocabulary=150, max_tokens=16)  # type: ignore[arg-type]  # parametrized
    first, again = trained("tokens", "text", spec, texts), trained("tokens", "text", spec, texts)
    assert first.data == again.data
    ids = encoder_of(first)(["the team 好看", ""])
    assert ids.dtype == np.int64
    assert (ids[0, :3] > 1).all(), "known words and characters have ids of their own"
    assert (ids[1] == 0).all()


def test_another_process_learns_the_same_file() -> None:
    program = (
        "import hashlib; from exporter.text.vocabulary import TokenizerSpec, trained;"
        "from tests.exporter.text.samples import chinese, english;"
        "texts = [text for _, text in [*english(300), *chinese(300)]];"
        "spec = TokenizerSpec(vocabulary=180);"
        "print(hashlib.sha256(trained('t', 'text', spec, texts).data).hexdigest())"
    )
    digests = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(digests) == 1


def test_chinese_without_spaces_is_read_character_by_character() -> None:
    file = trained("tokens", "text", SPEC, [text for _, text in chinese(60)])
    (spaced, close), unknown = encoder_of(file)(["电 影 很 好", "电影很好"]), encoder_of(file)(["鱉"])
    assert spaced.tolist() == close.tolist()
    assert len(set(close.tolist())) == 4
    assert unknown.tolist() == [[1]]


def test_nobody_can_write_padding() -> None:
    file = trained("tokens", "text", SPEC, [text for _, text in english(60)])
    assert (encoder_of(file)(["[PAD] good [UNK]"]) != 0).all()


def test_the_vocabulary_is_learned_from_the_fit_rows_alone(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", english(80))
    dataset, parts = prepared(tmp_path)
    texts = dataset.rows.inputs["text"]
    alone = trained("tokens", "text", SPEC, texts[parts.fit].tolist())
    assert dataset.tokenizers[0].data == alone.data
    np.testing.assert_array_equal(dataset.rows.inputs["tokens"][:, :4], encoder_of(alone)(texts.tolist())[:, :4])


def test_a_dataset_holds_what_the_server_derives_and_what_networks_must_know(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", english(80))
    windows = TokenizerSpec(vocabulary=120, max_tokens=8, windows=Windows(stride=6, most=3))
    dataset, _ = prepared(tmp_path, tokens=SPEC, windows=windows)
    assert [(entry.name, entry.shape) for entry in dataset.derived] == [("tokens", (-1, -1)), ("windows", (-1, -1, -1))]
    ids = dataset.rows.inputs["windows"]
    assert ids.shape[1:] == (3, 8)
    assert dataset.edges.keys() == dataset.rows.inputs.keys()
    assert dataset.edges["tokens"].shape[1] == dataset.rows.inputs["tokens"].shape[1]
    assert int(dataset.context["windows.overlap"]) == 2
    size = int(dataset.context["tokens.vocabulary"])
    assert dataset.context["tokens.vectors"].shape[0] == size
    assert int(dataset.rows.inputs["tokens"].max()) < size


def test_windows_that_leave_gaps_are_refused() -> None:
    with pytest.raises(DataError, match=r"tokenizer 't': windows\.stride is 9, more than max_tokens, 8"):
        trained("t", "text", TokenizerSpec(max_tokens=8, windows=Windows(stride=9, most=2)), ["a b"])


def test_tokens_in_the_same_company_have_similar_vectors() -> None:
    random = np.random.default_rng(0)
    ids = np.array([[kind * 10 + 2 + random.integers(8) for _ in range(12)] for kind in (0, 1) for _ in range(200)])
    vectors = token_vectors(ids, 30, 6, 0)
    again = token_vectors(ids, 30, 6, 0)
    np.testing.assert_array_equal(vectors, again)
    assert not vectors[:2].any()
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    alike = unit @ unit.T
    assert alike[2:10, 2:10].mean() > alike[2:10, 12:20].mean() + 0.5
