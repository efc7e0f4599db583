"""Tokenizers in a manifest: what they must satisfy, and that their files are named, hashed and never followed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model_repo import (
    File,
    Golden,
    Input,
    IntegrityError,
    Manifest,
    ManifestError,
    Repository,
    Tokenizer,
    decode,
    encode,
    manifest_files,
    problems,
)
from model_repo.format.input_rules import MAX_TOKENIZER_BYTES
from tests.model_repo.samples import FOREST, manifest, member

TEXT = Input(name="text", datatype="BYTES", shape=(-1,))
JSON = b'{"version": "1.0"}'
FILE = "tokenizers/tokens.json"


def tokenizer(**fields: Any) -> Tokenizer:
    own = Tokenizer(name="tokens", file=FILE, sha256="2" * 64, bytes=18, input="text", max_tokens=64)
    return msgspec.structs.replace(own, **fields)


def textual(*tokenizers: Tokenizer, **fields: Any) -> Manifest:
    return manifest(**{"inputs": (TEXT,), "tokenizers": tokenizers, **fields})


FRIENDLY = [
    textual(tokenizer()),
    textual(tokenizer(stride=64, max_windows=4096, pad_id=5, max_chars=10)),
    textual(tokenizer(), tokenizer(name="pieces", file="tokenizers/pieces.json")),
    textual(tokenizer(), tokenizer(name="windows", stride=32, max_windows=8)),
    textual(tokenizer(), members=(member("rf", inputs={"ids": "tokens", "raw": "text"}),)),
    textual(tokenizer(), inputs=(Input(name="text", datatype="BYTES", shape=(-1, 1)),)),
]


@pytest.mark.parametrize("friendly", FRIENDLY)
def test_a_friendly_tokenizer_has_no_problems_and_reads_back(friendly: Manifest) -> None:
    assert problems(friendly) == []
    assert decode(encode(friendly), "it") == friendly


NOT_A_NAME = "is not a name: expected 1 to 128 letters, digits, '.', '_' or '-', the first a letter or digit"
BROKEN: list[tuple[str, Manifest, list[str]]] = [
    ("name", textual(tokenizer(name="x\n")), [f"tokenizer 'x\\n' {NOT_A_NAME}"]),
    ("twice", textual(tokenizer(), tokenizer()), ["tokenizers has 'tokens' more than once"]),
    ("too many", textual(*(tokenizer(name=f"t{i}") for i in range(17))),
     ["tokenizers has 17 entries, the limit is 16"]),
    ("name of an input", textual(tokenizer(name="text")),
     ["tokenizer 'text' has the name of an input, expected one of its own"]),
    ("unknown input", textual(tokenizer(input="body")),
     ["tokenizer 'tokens': input is 'body', the ensemble's inputs are 'text'"]),
    ("numbers", textual(tokenizer(input="x"), inputs=(TEXT, Input(name="x", datatype="FP32", shape=(-1,)))),
     ["tokenizer 'tokens': input 'x' is FP32 [-1], expected BYTES [-1] or [-1, 1]"]),
    ("two texts a row", textual(tokenizer(), inputs=(Input(name="text", datatype="BYTES", shape=(-1, 2)),)),
     ["tokenizer 'tokens': input 'text' is BYTES [-1, 2], expected BYTES [-1] or [-1, 1]"]),
    ("huge file", textual(tokenizer(bytes=MAX_TOKENIZER_BYTES + 1)),
     [f"tokenizer 'tokens': its file has {MAX_TOKENIZER_BYTES + 1} bytes, the limit is {MAX_TOKENIZER_BYTES}"]),
    ("stride alone", textual(tokenizer(stride=3)),
     ["tokenizer 'tokens': has stride without max_windows, expected both or neither"]),
    ("windows alone", textual(tokenizer(max_windows=3)),
     ["tokenizer 'tokens': has max_windows without stride, expected both or neither"]),
    ("gaps", textual(tokenizer(stride=65, max_windows=3)),
     ["tokenizer 'tokens': stride is 65, more than max_tokens, 64: tokens would be left out"]),
    ("too much", textual(tokenizer(max_tokens=65536, stride=1, max_windows=4096)),
     ["tokenizer 'tokens': max_tokens × max_windows is 268435456, the limit is 1048576"]),
    ("wiring", textual(tokenizer(), members=(member("rf", inputs={"ids": "tokns"}),)),
     ["member 'rf': inputs takes 'ids' from 'tokns', the ensemble's inputs are 'text', its tokenizers 'tokens'"]),
    ("path upwards", textual(tokenizer(file="../t.json")), ["file '../t.json' contains '..'"]),
    ("one path, two contents", textual(tokenizer(file="golden.npz")),
     ["file 'golden.npz' is named twice, with different sha256 or bytes"]),
]  # fmt: skip


@pytest.mark.parametrize(("broken", "expected"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_tokenizer_gets_one_sentence_per_problem(broken: Manifest, expected: list[str]) -> None:
    assert problems(broken) == expected


@pytest.mark.parametrize("field", [{"max_tokens": 65537}, {"max_tokens": 0}, {"stride": 0, "max_windows": 1},
                                   {"stride": 1, "max_windows": 4097}, {"pad_id": -1}, {"pad_id": 2**31},
                                   {"max_chars": 0}])  # fmt: skip
def test_a_number_out_of_range_is_refused_when_it_is_read(field: dict[str, int]) -> None:
    with pytest.raises(ManifestError):
        decode(encode(textual(tokenizer(**field))), "it")


def published(root: Path) -> Repository:
    repository = Repository(root)
    with repository.stage("digits") as staging:
        rf, json, golden = (
            staging.add("members/rf.onnx", FOREST), staging.add(FILE, JSON), staging.add("golden.npz", b"golden"),
        )  # fmt: skip
        staging.publish(
            textual(
                tokenizer(sha256=json.sha256, bytes=json.bytes),
                version=1,
                members=(member("rf", rf),),
                golden=Golden(file=golden.file, sha256=golden.sha256, bytes=golden.bytes, rows=2),
            )
        )
    return repository


def test_the_file_of_a_tokenizer_is_one_of_the_versions(tmp_path: Path) -> None:
    repository = published(tmp_path)
    version = repository.open("digits", 1)
    assert File(file=FILE, sha256=version.manifest.tokenizers[0].sha256, bytes=len(JSON)) in manifest_files(
        version.manifest
    )
    assert version.read(FILE) == JSON
    repository.verify("digits", 1)


def _grown(path: Path) -> None:
    os.truncate(path, 10**12)


def _linked(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _changed(path: Path) -> None:
    path.write_bytes(JSON.replace(b"1.0", b"9.9"))


@pytest.mark.parametrize(("spoil", "message"), [
    (_grown, f"has 1000000000000 bytes, the manifest says {len(JSON)}"),
    (_linked, "is a symbolic link, expected a file"),
    (_changed, "has sha256"),
    (Path.unlink, "is missing"),
])  # fmt: skip
def test_a_hostile_tokenizer_file_is_refused_before_it_is_parsed(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    version = published(tmp_path).open("digits", 1)
    spoil(tmp_path / "digits" / "1" / FILE)
    with pytest.raises(IntegrityError, match=f"^digits/1/{FILE} {message}"):
        version.read(FILE)
