"""docs/FORMAT.md says what the code does: fields, defaults, rules, limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from model_repo import Batching, Canary, Conformal, Execution, File, Golden, Manifest, Member, Provider, Routes, decode
from model_repo.format.decoding import MAX_MANIFEST_BYTES
from model_repo.format.input_rules import (
    MAX_DIMENSIONS,
    MAX_INPUTS,
    MAX_ROW_TOKENS,
    MAX_TOKENIZER_BYTES,
    MAX_TOKENIZERS,
)
from model_repo.format.manifest import (
    FORMAT,
    Detector,
    Extra,
    Fallback,
    Fusion,
    ImageInput,
    Input,
    LedgerFile,
    TextInput,
    Tokenizer,
)
from model_repo.format.model_rules import MAX_PROVIDERS
from model_repo.format.paths import MAX_COMPONENT_BYTES, MAX_PATH_BYTES
from model_repo.format.rules import MAX_CLASS_CHARS, MAX_CLASSES, MAX_FILES, MAX_MEMBERS, RULES
from model_repo.format.side_rules import MAX_DETECTORS, MAX_EXTRAS, MAX_QUANTILES
from model_repo.store.routes import MAX_HISTORY
from model_repo.store.routes_file import MAX_ROUTES_BYTES
from model_repo.store.verify import MAX_ENTRIES

PAGE = (Path(__file__).parents[3] / "docs" / "FORMAT.md").read_text(encoding="utf-8")
STRUCTS: list[type[msgspec.Struct]] = [
    Manifest, Input, ImageInput, TextInput, Tokenizer, File, Member, Detector, Extra, Golden, Conformal, LedgerFile,
    Batching, Execution, Provider, Routes, Canary, *get_args(Fusion),
]  # fmt: skip


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_field_is_on_the_page(struct: type[msgspec.Struct]) -> None:
    missing = [name for name in struct.__struct_encode_fields__ if f"`{name}`" not in PAGE]
    assert missing == []


def test_the_table_of_the_manifest_has_its_fields_and_no_others() -> None:
    table = PAGE.split("## Manifest")[1].split("**input**")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)}
    assert named == set(Manifest.__struct_encode_fields__)


def test_every_rule_is_in_the_table_with_its_tasks() -> None:
    table = PAGE.split("**fusion**")[1].split("**golden**")[0]
    rows = dict(re.findall(r"^\| `(?!rule`)(\w+)` \| ([a-z, ]+) \|", table, re.M))
    tags = {struct.__struct_config__.tag: struct for struct in get_args(Fusion)}
    assert set(rows) == set(tags)
    for rule, tasks in rows.items():
        allowed = {task for task, rules in RULES.items() if rule in rules}
        assert allowed == (set(RULES) if tasks == "any" else set(tasks.split(", ")))
    fallbacks = [struct.__struct_config__.tag for struct in get_args(Fallback)]
    assert all(f"`{rule}`" in PAGE.split("`fallback`")[1].split("\n")[0] for rule in fallbacks)


@pytest.mark.parametrize(
    "text",
    [
        f"format {FORMAT} ",
        f"1–{MAX_INPUTS} of *input*",
        f"1–{MAX_MEMBERS} of *member*",
        f"2 to {MAX_CLASSES:,} distinct names of 1 to {MAX_CLASS_CHARS:,} characters",
        f"up to {MAX_DIMENSIONS} dimensions",
        f"up to {MAX_TOKENIZERS} of *tokenizer*",
        f"JSON of at most {MAX_TOKENIZER_BYTES // 2**20} MiB",
        f"`max_tokens` × `max_windows` is at most {MAX_ROW_TOKENS:,}",
        f"| {Tokenizer.__struct_defaults__[-1]:,} | characters of a text",
        f"up to {MAX_DETECTORS} of *detector*",
        f"2 to {MAX_QUANTILES:,} ascending",
        f"up to {MAX_EXTRAS} of *extra*",
        f"at most {MAX_PROVIDERS} distinct",
        f"over {MAX_PATH_BYTES:,} bytes or {MAX_COMPONENT_BYTES} a component",
        f"at most {MAX_HISTORY} ",
        f"`ensemble.json` {MAX_MANIFEST_BYTES // 2**20} MiB",
        f"`routes.json` {MAX_ROUTES_BYTES // 2**20} MiB",
        f"{MAX_FILES:,} files and {MAX_ENTRIES:,} entries",
        *(f"`{name}` = {getattr(Batching(), name):g}" for name in Batching.__struct_encode_fields__),
    ],
)
def test_the_page_has_this_limit(text: str) -> None:
    assert text in " ".join(PAGE.split())


def test_the_depth_that_is_allowed_is_about_a_thousand() -> None:
    decode(nested(500), "it")
    with pytest.raises(Exception, match="is nested too deeply"):
        decode(nested(2000), "it")


def nested(levels: int) -> bytes:
    from model_repo import encode
    from tests.model_repo.samples import manifest

    text = encode(manifest()).decode().rstrip().removesuffix("}")
    return (text + ', "report": {"a": ' + "[" * levels + "]" * levels + "}}").encode()
