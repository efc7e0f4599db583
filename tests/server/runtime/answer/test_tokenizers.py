"""Texts become token ids in the server: once a batch and tokenizer, within the declared limits, or a clear refusal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as Codec

from model_repo import Repository, Tokenizer
from server.errors import LoadError
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.answer import tokenizers as tokenizing
from server.runtime.answer.tokenizers import TextError, codec_of, window_count
from server.runtime.options import PlanName
from server.runtime.prediction import Prediction
from tests.texts import TABLE, WORDS, bag, encoded, publish_texts, strings, word_level, word_piece

ID = {word: place for place, word in enumerate(WORDS)}
TWO = {"bag": bag(), "twice": bag(2 * TABLE)}
PLANS: list[PlanName] = ["sequential", "parallel", "merged"]


def declared(**fields: Any) -> Tokenizer:
    base: dict[str, Any] = {"name": "tokens", "file": "t.json", "sha256": "0" * 64, "bytes": 1, "input": "text"}
    return Tokenizer(**{**base, "max_tokens": 4, **fields})


def load(root: Path, plan: PlanName | None = None) -> LoadedEnsemble:
    options = RuntimeOptions(cores=2) if plan is None else RuntimeOptions(cores=2, plan=plan)
    ensemble = LoadedEnsemble.open(Repository(root).open("texts", 1), SessionPool(), options)
    ensemble.check_golden()
    ensemble.choose_plan()
    return ensemble


def asked(ensemble: LoadedEnsemble, *texts: str) -> Prediction:
    return ensemble.predict({"text": strings(texts)}, ["probabilities", "label"])


def test_texts_are_filled_up_to_the_longest_and_cut_at_the_most() -> None:
    ids = encoded(declared(pad_id=0), word_level(), ["good film", "bad", "", "good good good good good bad"])
    assert ids.dtype == np.int64
    assert ids.tolist() == [[2, 4, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0], [2, 2, 2, 2]]
    assert encoded(declared(pad_id=7), word_level(), ["good film", ""]).tolist() == [[2, 4], [7, 7]]
    assert encoded(declared(), word_level(), [""]).tolist() == [[0]], "a row has at least one column"


def test_chinese_is_split_into_characters_and_what_is_unknown_has_its_own_id() -> None:
    texts = ["好片", "坏 片!", "an unknown 字"]
    expected = [
        [ID["好"], ID["片"], 0],
        [ID["坏"], ID["片"], ID["[UNK]"]],
        [ID["[UNK]"], ID["[UNK]"], ID["[UNK]"]],
    ]
    assert encoded(declared(), word_level(), texts).tolist() == expected
    assert encoded(declared(), word_piece(), texts).tolist() == expected


def test_windows_overlap_and_hold_every_token_until_the_last() -> None:
    text = " ".join(["good", "bad", "film"] * 3)  # nine tokens
    ids = encoded(declared(max_tokens=4, stride=3, max_windows=8), word_level(), [text, "bad"])
    assert ids.tolist() == [
        [[2, 3, 4, 2], [2, 3, 4, 2], [2, 3, 4, 0]],
        [[3, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ]
    capped = encoded(declared(max_tokens=4, stride=3, max_windows=2), word_level(), [text])
    assert capped.tolist() == [[[2, 3, 4, 2], [2, 3, 4, 2]]], "what lies beyond the last window is not looked at"


@pytest.mark.parametrize(("tokens", "windows"), [(0, 1), (1, 1), (4, 1), (5, 2), (7, 2), (8, 3)])
def test_a_row_has_as_many_windows_as_hold_its_tokens(tokens: int, windows: int) -> None:
    assert window_count(tokens, 4, 3) == windows


def test_characters_beyond_the_limit_are_not_looked_at() -> None:
    assert encoded(declared(max_chars=8), word_level(), ["bad film good"]).tolist() == [[3, 4]]


def test_a_document_of_twenty_thousand_words_is_within_the_limits() -> None:
    document = "good " * 20_000 + "bad"
    ids = encoded(declared(max_tokens=256, stride=224, max_windows=16), word_level(), [document, "bad"])
    assert ids.shape == (2, 16, 256)
    assert (ids[0] == 2).all()


def test_truncation_and_padding_of_the_file_itself_are_ignored() -> None:
    codec = Codec.from_str(word_level().decode())
    codec.enable_truncation(1)
    codec.enable_padding(length=6, pad_id=3)
    assert encoded(declared(), codec.to_str().encode(), ["good film"]).tolist() == [[2, 4]]


@pytest.mark.parametrize("plan", PLANS)
def test_an_ensemble_answers_texts_by_every_plan(tmp_path: Path, plan: PlanName) -> None:
    publish_texts(tmp_path, TWO, {"tokens": (word_level(), {})})
    ensemble = load(tmp_path, plan)
    assert ensemble.plan == plan
    prediction = asked(ensemble, "a good film", "坏片", "")
    assert prediction.failures == ()
    assert prediction.outputs["label"].tolist() == ["positive", "negative", "negative"]
    alone = asked(ensemble, "坏片")
    np.testing.assert_allclose(alone.outputs["probabilities"][0], prediction.outputs["probabilities"][1], atol=1e-6)
    assert [entry.name for entry in ensemble.input_specs] == ["text"]
    ensemble.close()


def test_members_with_different_tokenizers_and_windows_share_one_text(tmp_path: Path) -> None:
    members = {"bag": bag(), "windows": bag(rank=3, name="windows")}
    tokenizers = {"tokens": (word_level(), {}), "windows": (word_piece(), {"stride": 8, "max_windows": 4})}
    publish_texts(tmp_path, members, tokenizers)
    ensemble = load(tmp_path)
    (P,) = asked_members(ensemble, "good film " * 10)
    assert P[1, 1] > P[0, 1] > 0.9, "the windows see all twenty tokens, the other member eight"
    ensemble.close()


def asked_members(ensemble: LoadedEnsemble, *texts: str) -> Any:
    return ensemble.predict({"text": strings(texts)}, ["members"]).outputs["members"]


def test_each_tokenizer_encodes_a_batch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = tokenizing.encode_with

    def counting(codec: Codec) -> tokenizing.Encode:
        encode = real(codec)

        def counted(texts: Sequence[str]) -> list[list[int]]:
            calls.append(len(texts))
            return encode(texts)

        return counted

    monkeypatch.setattr(tokenizing, "encode_with", counting)
    publish_texts(tmp_path, {**TWO, "third": bag(3 * TABLE)}, {"tokens": (word_level(), {})})
    ensemble = load(tmp_path)
    calls.clear()
    asked(ensemble, "good", "bad", "film")
    assert calls == [3]
    ensemble.close()


def test_a_text_that_cannot_be_encoded_is_the_inputs_fault_and_of_its_batch_alone(tmp_path: Path) -> None:
    publish_texts(tmp_path, TWO, {"tokens": (word_level(unk=None), {})}, texts=("good", "bad"))
    ensemble = load(tmp_path)
    refused = asked(ensemble, "good", "nowhere")
    assert refused.usable is not None
    assert not refused.usable.any()
    assert {(failure.member, failure.reason) for failure in refused.failures} == {
        ("bag", "invalid_input"),
        ("twice", "invalid_input"),
    }
    assert "tokenizer 'tokens' cannot encode a text: WordLevel error" in refused.failures[0].detail
    assert asked(ensemble, "good").failures == ()
    ensemble.close()


def test_a_text_that_is_no_unicode_is_refused_not_raised() -> None:
    with pytest.raises(TextError, match=r"^tokenizer 'tokens' cannot encode a text: "):
        encoded(declared(), word_level(), ["good \ud800"])


def _without_model(text: str) -> str:
    return json.dumps({key: value for key, value in json.loads(text).items() if key != "model"})


def _unknown_model(text: str) -> str:
    parsed = json.loads(text)
    parsed["model"]["type"] = "Nonsense"
    return json.dumps(parsed)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"version": "1.0"}',
        b"[" * 100_000,
        _without_model(word_level().decode()).encode(),
        _unknown_model(word_level().decode()).encode(),
        word_level()[:-20],
    ],
    ids=["empty", "binary", "a list", "no model", "nested", "without its model", "an unknown model", "cut off"],
)
def test_a_broken_file_refuses_the_load_and_leaves_nothing(tmp_path: Path, data: bytes) -> None:
    publish_texts(tmp_path, {"bag": bag()}, {"tokens": (word_level(), {})})
    with pytest.raises(ValueError, match=r"."):
        codec_of(data)
    spoil(tmp_path, data)
    pool = SessionPool()
    with pytest.raises(LoadError, match=r"^tokenizer 'tokens' cannot be read: ") as caught:
        LoadedEnsemble.open(Repository(tmp_path).open("texts", 1), pool, RuntimeOptions(cores=1))
    assert caught.value.reason == "tokenizer"
    assert "\n" not in str(caught.value)
    assert pool.count == 0


def spoil(root: Path, data: bytes) -> None:
    """Put other bytes in the tokenizer's place, and their digest in the manifest."""
    folder = root / "texts" / "1"
    (folder / "tokenizers" / "tokens.json").write_bytes(data)
    manifest = json.loads((folder / "ensemble.json").read_text())
    manifest["tokenizers"][0] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "ensemble.json").write_text(json.dumps(manifest))


def test_a_changed_file_is_found_by_its_digest(tmp_path: Path) -> None:
    publish_texts(tmp_path, {"bag": bag()}, {"tokens": (word_level(), {})})
    (tmp_path / "texts" / "1" / "tokenizers" / "tokens.json").write_bytes(word_piece())
    with pytest.raises(LoadError, match=r"tokenizer 'tokens': texts/1/tokenizers/tokens\.json has") as caught:
        LoadedEnsemble.open(Repository(tmp_path).open("texts", 1), SessionPool(), RuntimeOptions(cores=1))
    assert caught.value.reason == "integrity"


def test_random_ids_are_refused() -> None:
    parsed = json.loads(word_level().decode())
    parsed["model"] = {"type": "BPE", "dropout": 0.1, "unk_token": None, "vocab": {"a": 0}, "merges": []}
    with pytest.raises(ValueError, match=r"dropout 0\.1"):
        codec_of(json.dumps(parsed).encode())


def test_signatures_count_a_tokenizer_as_a_source(tmp_path: Path) -> None:
    publish_texts(tmp_path, {"bag": bag()}, {"tokens": (word_level(), {}), "spare": (word_piece(), {})})
    with pytest.raises(LoadError) as caught:
        load(tmp_path)
    assert str(caught.value) == "tokenizer 'spare' is taken by no member"


def test_a_member_that_wants_windows_is_not_given_rows(tmp_path: Path) -> None:
    publish_texts(tmp_path, {"bag": bag()}, {"tokens": (word_level(), {})})
    folder = tmp_path / "texts" / "1"
    manifest = json.loads((folder / "ensemble.json").read_text())
    manifest["tokenizers"][0] |= {"stride": 4, "max_windows": 4}
    (folder / "ensemble.json").write_text(json.dumps(manifest))
    with pytest.raises(
        LoadError, match=r"member 'bag' takes 'tokens' as \[n, \?\], the ensemble's 'tokens' is \[n, \?"
    ):
        load(tmp_path)
