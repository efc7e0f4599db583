"""Texts through `tutti publish`: tokenizers before members, masks made of ids, padding that nobody sees."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from exporter.cli.publish import main
from model_repo import Manifest, Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.datatypes import Array
from tests import texts

TABLE = np.random.default_rng(5).normal(size=(len(texts.WORDS), 2)).astype(np.float32)
"""Padding has a row of its own that is not zero: only a mask keeps it out."""


def bert_like(*, masked: bool = True, integer: int = TensorProto.INT64) -> bytes:
    """softmax of the mean of table rows over the tokens that the mask lets through; token types add nothing."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask" if masked else "token_type_ids"], ["m"], to=TensorProto.FLOAT),
        *([] if masked else [helper.make_node("Add", ["m", "one"], ["m1"])]),
        helper.make_node("Unsqueeze", ["m" if masked else "m1", "last"], ["weights"]),
        helper.make_node("Mul", ["rows", "weights"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "axis"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["z"]),
        helper.make_node("Softmax", ["z"], ["logits_soft"], axis=1),
    ]
    names = ["input_ids", *(["attention_mask"] if masked else []), "token_type_ids"]
    constants = {"table": TABLE, "last": np.array([2]), "axis": np.array([1]), "one": np.array(1, np.float32)}
    graph = helper.make_graph(
        nodes, "bert",
        [helper.make_tensor_value_info(name, integer, ["n", "l"]) for name in names],
        [helper.make_tensor_value_info("logits_soft", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    if masked:
        graph.initializer.pop()
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def publish(folder: Path, files: dict[str, bytes], *words: str) -> int:
    flags = [flag for name in files for flag in ("--member", f"{name}={folder / name}.onnx")]
    for name, data in files.items():
        (folder / f"{name}.onnx").write_bytes(data)
    (folder / "tokenizer.json").write_bytes(texts.word_piece())
    return main(["own", *flags, "--repository", str(folder / "models"), "--classes", "bad,good", *words])


def answered(folder: Path, rows: list[str]) -> tuple[Manifest, Array]:
    ensemble = LoadedEnsemble.open(
        Repository(folder / "models").open("own", 1), SessionPool(), RuntimeOptions(cores=1)
    )  # fmt: skip
    ensemble.check_golden()
    try:
        feeds: dict[str, Array] = {"text": np.array(rows, dtype=np.object_)}
        return ensemble.manifest, ensemble.predict(feeds, ("probabilities",)).outputs["probabilities"]
    finally:
        ensemble.close()


def expected(words: str) -> Array:
    z = TABLE[[texts.WORDS.index(word) for word in words.split()]].mean(axis=0)
    return np.asarray(np.exp(z) / np.exp(z).sum())


@pytest.mark.parametrize("integer", [TensorProto.INT64, TensorProto.INT32], ids=["int64", "int32"])
def test_a_model_of_ids_masks_and_types_is_asked_with_texts(tmp_path: Path, integer: int) -> None:
    file = tmp_path / "tokenizer.json"
    assert publish(tmp_path, {"bert": bert_like(integer=integer)}, "--tokenizer", f"bert={file}") == 0
    manifest, found = answered(tmp_path, ["good film", "bad bad film film good", "bad"])
    assert [(entry.name, entry.datatype, entry.shape) for entry in manifest.inputs] == [("text", "BYTES", (-1,))]
    assert manifest.inputs[0].text is not None
    (tokenizer,) = manifest.tokenizers
    assert (tokenizer.pad_id, tokenizer.max_tokens) == (0, 512)
    for row, words in zip(found, ["good film", "bad bad film film good", "bad"], strict=True):
        np.testing.assert_allclose(row, expected(words), atol=1e-5)


def test_members_of_one_tokenizer_share_it_and_others_have_their_own(tmp_path: Path) -> None:
    told = json.loads(texts.word_piece())
    told["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "short.json").write_text(json.dumps(told))
    files = {name: bert_like() for name in ("a", "b", "c")}
    words = [f"--tokenizer={name}={tmp_path / 'tokenizer.json'}" for name in ("a", "b")]
    assert publish(tmp_path, files, *words, f"--tokenizer=c={tmp_path / 'short.json'}") == 0
    manifest, found = answered(tmp_path, ["good film bad"])
    assert [(entry.name, entry.max_tokens) for entry in manifest.tokenizers] == [("tokens-a", 512), ("tokens-c", 2)]
    mean = (2 * expected("good film bad") + expected("good film")) / 3
    np.testing.assert_allclose(found[0], mean, atol=1e-5)


def test_padding_that_a_model_sees_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"--tokenizer=bert={tmp_path / 'tokenizer.json'}"
    assert publish(tmp_path, {"bert": bert_like(masked=False)}, words) == 2
    assert "its graph must not see padding" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tokenizer", "bert=nowhere.json"], "its tokenizer 'nowhere.json' cannot be read: No such file"),
        (["--tokenizer", "bert={folder}/bert.onnx"], "expected the tokenizer.json of Hugging Face's tokenizers"),
        (["--tokenizer", "other={folder}/tokenizer.json"], "--tokenizer: there is no member 'other'"),
        (["--max-tokens", "4"], "--max-tokens: without --tokenizer"),
        (["--tokenizer", "bert={folder}/tokenizer.json", "--max-tokens", "0"], "expected 1 to 65536"),
    ],
)
def test_what_does_not_fit_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert publish(tmp_path, {"bert": bert_like()}, *(word.format(folder=tmp_path) for word in words)) == 2
    assert message in capsys.readouterr().err


def test_a_model_without_an_input_for_ids_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests import graphs

    files = {"soft": graphs.softmax_linear(np.ones((4, 2)))}
    assert publish(tmp_path, files, "--tokenizer", f"soft={tmp_path / 'tokenizer.json'}") == 2
    assert "which of its inputs takes token ids? They are 'x'" in capsys.readouterr().err
