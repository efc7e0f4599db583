"""Each rule of a manifest with the exact sentence it gives, and friendly manifests that give none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from model_repo import (
    Batching,
    Concatenate,
    Conformal,
    Execution,
    File,
    Geometric,
    Golden,
    ImageInput,
    Input,
    Manifest,
    ManifestError,
    Mean,
    Median,
    Member,
    Provider,
    ReciprocalRank,
    Stacked,
    TextInput,
    Vote,
    Weighted,
    decode,
    encode,
    problems,
)
from tests.model_repo.samples import manifest, member

A, B, C = "a" * 64, "b" * 64, "c" * 64
REGRESSION: dict[str, Any] = {"task": "regression", "classes": (), "members": (member("a", kind="value"),)}
RANKING: dict[str, Any] = {"task": "ranking", "members": (member("a", kind="value"),)}
EMBEDDING: dict[str, Any] = {**REGRESSION, "task": "embedding", "value_shape": (4,)}
JOINED: dict[str, Any] = {
    **EMBEDDING, "fusion": Concatenate(), "quorum": 2, "value_shape": (10,),
    "members": (member("a", kind="value", width=4), member("b", kind="value", width=6)),
}  # fmt: skip
NOT_A_NAME = "is not a name: expected 1 to 128 letters, digits, '.', '_' or '-', the first a letter or digit"


def pixels(shape: tuple[int, ...] = (-1, 8, 8), **fields: Any) -> tuple[Input, ...]:
    return (msgspec.structs.replace(Input(name="pixels", datatype="FP32", shape=shape), **fields),)


def image(**fields: Any) -> ImageInput:
    return msgspec.structs.replace(ImageInput(mode="L", width=8, height=8, layout="HW"), **fields)


def stacked(fallback: Mean | Weighted, **fields: Any) -> Stacked:
    own = Stacked(file="fusion.onnx", sha256=A, bytes=1, fallback=fallback)
    return msgspec.structs.replace(own, **fields)


def one(**fields: Any) -> tuple[Member, ...]:
    return (member("rf", **fields),)


def golden(file: str) -> Golden:
    return Golden(file=file, sha256=C, bytes=7, rows=2)


@dataclass(frozen=True)
class Case:
    name: str
    manifest: Manifest
    expected: list[str]


BROKEN = [
    Case("format", manifest(format=2), ["format is 2, this writer knows format 1"]),
    Case("name with a newline", manifest(name="digits\n"), [f"name 'digits\\n' {NOT_A_NAME}"]),
    # classes
    Case("no classes", manifest(classes=()), ["classes has 0 names, a classification has at least 2"]),
    Case("one class", manifest(classes=("0",)), ["classes has 1 name, a classification has at least 2"]),
    Case("one candidate", manifest(**RANKING | {"classes": ("0",), "fusion": ReciprocalRank()}),
         ["classes has 1 name, a ranking has at least 2"]),
    Case("too many classes", manifest(classes=tuple(map(str, range(100_001)))),
         ["classes has 100001 names, the limit is 100000"]),
    Case("class twice", manifest(classes=("0", "1", "0")), ["classes has '0' more than once"]),
    Case("empty class", manifest(classes=("0", "")), ["class '' has 0 characters, expected 1 to 1024"]),
    Case("long class", manifest(classes=("0", "x" * 1025)),
         [f"class '{'x' * 61}'... has 1025 characters, expected 1 to 1024"]),
    Case("classes of a regression", manifest(**REGRESSION | {"classes": ("a", "b")}),
         ["classes has 2 names, a regression has none"]),
    # labels and values
    Case("no label", manifest(task="multilabel", classes=()), ["classes has 0 names, a multilabel has at least 1"]),
    Case("thresholds of a classification", manifest(thresholds=(0.5, 0.5, 0.5)),
         ["thresholds has 3 numbers, which only a multilabel has, the task is classification"]),
    Case("a threshold too few", manifest(task="multilabel", thresholds=(0.5, 0.5)),
         ["thresholds has 2 numbers, expected one for each of the 3 labels, or none"]),
    Case("kind of a multilabel", manifest(task="multilabel", members=one(kind="value")),
         ["member 'rf': kind is 'value', a multilabel takes 'probabilities' or 'logits'"]),
    Case("learned rule of a multilabel", manifest(task="multilabel", fusion=stacked(Mean())),
         ["fusion: rule is 'stacked', a multilabel takes "
          "'mean' or 'weighted' or 'vote' or 'geometric' or 'median'"]),
    Case("shape of a classification's value", manifest(value_shape=(3,)),
         ["value_shape is [3], which only a regression or an embedding has, the task is classification"]),
    Case("positions of a classification", manifest(positions=(4,)),
         ["positions is [4], which only a dense answer has, the task is classification"]),
    Case("no positions", manifest(task="dense"),
         ["positions is [], a dense answer has 1 to 5 lengths of at least 1, or -1 where they vary"]),
    Case("a learned dense rule", manifest(task="dense", positions=(-1,), fusion=stacked(Mean())),
         ["fusion: rule is 'stacked', a dense takes "
          "'mean' or 'weighted' or 'vote' or 'geometric' or 'median'"]),
    Case("an embedding of no size", manifest(**EMBEDDING | {"value_shape": ()}),
         ["value_shape is [], an embedding has one dimension: the numbers of its vector"]),
    Case("widths of a mean", manifest(**EMBEDDING | {"members": (member("a", kind="value", width=4),)}),
         ["members 'a' state a width, which only embeddings that are concatenated have"]),
    Case("widths missing", manifest(**EMBEDDING | {"fusion": Concatenate()}),
         ["members 'a' state no width, which concatenation needs"]),
    Case("widths that do not add up", manifest(**JOINED | {"value_shape": (9,)}),
         ["value_shape is [9], the members' vectors have 10 numbers together"]),
    Case("concatenation without a member", manifest(**JOINED | {"quorum": 1}),
         ["quorum is 1, concatenation needs every member: 2"]),
    Case("huge value", manifest(**REGRESSION | {"value_shape": (2000, 2000)}),
         ["value_shape is [2000, 2000], 4000000 numbers; expected at most 7 dimensions and 1000000 numbers"]),
    # inputs
    Case("no input", manifest(inputs=()), ["inputs has 0 entries, expected 1 to 64"]),
    Case("too many inputs", manifest(inputs=tuple(x for i in range(65) for x in pixels(name=f"x{i}"))),
         ["inputs has 65 entries, expected 1 to 64"]),
    Case("input twice", manifest(inputs=pixels() + pixels()), ["inputs has 'pixels' more than once"]),
    Case("input name", manifest(inputs=pixels(name="x\n")), [f"input 'x\\n' {NOT_A_NAME}"]),
    Case("first dimension", manifest(inputs=pixels((8, 8))),
         ["input 'pixels': shape is [8, 8], expected the first dimension to be -1, the rows"]),
    Case("no dimension", manifest(inputs=pixels(())),
         ["input 'pixels': shape is [], expected the first dimension to be -1, the rows"]),
    Case("nine dimensions", manifest(inputs=pixels((-1,) * 9)),
         ["input 'pixels': shape has 9 dimensions, the limit is 8"]),
    Case("empty dimension", manifest(inputs=pixels((-1, 0))),
         ["input 'pixels': shape is [-1, 0], expected dimensions of 1 to 2147483647, or -1 where they vary"]),
    Case("huge dimension", manifest(inputs=pixels((-1, 2**31))),
         ["input 'pixels': shape is [-1, 2147483648], expected dimensions of 1 to 2147483647, or -1 where they vary"]),
    # images and texts
    Case("image of strings", manifest(inputs=pixels(datatype="BYTES", image=image())),
         ["input 'pixels': image needs a numeric datatype, not BYTES"]),
    Case("coloured HW", manifest(inputs=pixels(image=image(mode="RGB"))),
         ["input 'pixels': image has layout HW, which has no channels, and mode RGB; expected mode L"]),
    Case("black image", manifest(inputs=pixels(image=image(scale=0.0))),
         ["input 'pixels': image has scale 0, which makes every image black"]),
    Case("image of another size", manifest(inputs=pixels(image=image(width=9))),
         ["input 'pixels': shape is [-1, 8, 8], the image gives [-1, 8, 9] (HW)"]),
    Case("image of another layout", manifest(inputs=pixels((-1, 8, 8, 3), image=image(mode="RGB", layout="CHW"))),
         ["input 'pixels': shape is [-1, 8, 8, 3], the image gives [-1, 3, 8, 8] (CHW)"]),
    Case("image and text", manifest(inputs=pixels((-1,), datatype="BYTES", image=image(), text=TextInput())),
         ["input 'pixels': image needs a numeric datatype, not BYTES",
          "input 'pixels': shape is [-1], the image gives [-1, 8, 8] (HW)",
          "input 'pixels': has both image and text, expected one of them"]),
    Case("text as numbers", manifest(inputs=pixels((-1,), text=TextInput())),
         ["input 'pixels': text needs datatype BYTES, not FP32"]),
    Case("text of two elements", manifest(inputs=pixels((-1, 2), datatype="BYTES", text=TextInput())),
         ["input 'pixels': shape is [-1, 2], a text is one element a row: expected [-1] or [-1, 1]"]),
    # members
    Case("no member", manifest(members=()), ["members has 0 entries, expected 1 to 256"]),
    Case("too many members", manifest(members=tuple(member(f"m{i}") for i in range(257))),
         ["members has 257 entries, expected 1 to 256"]),
    Case("member twice", manifest(members=one() + one(file="b.onnx")), ["members has 'rf' more than once"]),
    Case("member name", manifest(members=one(name="rf\n", file="rf.onnx")), [f"member 'rf\\n' {NOT_A_NAME}"]),
    Case("kind of a classification", manifest(members=one(kind="value")),
         ["member 'rf': kind is 'value', a classification takes 'probabilities' or 'logits'"]),
    Case("kind of a regression", manifest(**REGRESSION | {"members": one()}),
         ["member 'rf': kind is 'probabilities', a regression takes 'value'"]),
    Case("no output", manifest(members=one(output="")),
         ["member 'rf': output is empty, expected the name of an ONNX output"]),
    Case("temperature of a regression", manifest(**REGRESSION | {"members": one(kind="value", temperature=2.0)}),
         ["member 'rf': temperature is 2, which only 'classification' and 'multilabel' and 'dense' have"]),
    Case("member classes", manifest(members=one(classes=("0", "1", "nine"))),
         ["member 'rf': classes lack '2' and have unknown 'nine'"]),
    Case("member classes twice", manifest(members=one(classes=("0", "1", "2", "2"))),
         ["member 'rf': classes have '2' more than once"]),
    Case("many classes missing", manifest(classes=tuple("abcdefgh"), members=one(classes=("a", "b"))),
         ["member 'rf': classes lack 'c', 'd', 'e', 'f', 'g' and 1 more"]),
    Case("member classes of a regression", manifest(**REGRESSION | {"members": one(kind="value", classes=("0",))}),
         ["member 'rf': classes has 1 name, a regression has none"]),
    Case("input map from nowhere", manifest(members=one(inputs={"x": "pixls"})),
         ["member 'rf': inputs takes 'x' from 'pixls', the ensemble's inputs are 'pixels'"]),
    Case("input map to nothing", manifest(members=one(inputs={"": "pixels"})),
         ["member 'rf': inputs has an empty key, expected the name of an ONNX input"]),
    Case("providers of a member", manifest(members=one(providers=(Provider(name=""),))),
         ["member 'rf': providers: a provider has an empty name"]),
    # fusion
    Case("ranking rule in a classification", manifest(fusion=ReciprocalRank()),
         ["fusion: rule is 'reciprocal_rank', a classification takes "
          "'mean' or 'weighted' or 'vote' or 'geometric' or 'median' or 'stacked'"]),
    Case("vote in a regression", manifest(**REGRESSION | {"fusion": Vote()}),
         ["fusion: rule is 'vote', a regression takes 'mean' or 'weighted' or 'median'"]),
    Case("median in a ranking", manifest(**RANKING | {"fusion": Median()}),
         ["fusion: rule is 'median', a ranking takes 'mean' or 'weighted' or 'reciprocal_rank'"]),
    Case("temperature in a regression", manifest(**REGRESSION | {"fusion": Mean(temperature=0.5)}),
         ["fusion: temperature is 0.5, which only 'classification' and 'multilabel' and 'dense' have"]),
    Case("no weight", manifest(fusion=Weighted(), members=one(weight=0.0)),
         ["fusion: the members' weights are all 0, which 'weighted' cannot use"]),
    Case("no weight to vote", manifest(fusion=Vote(), members=one(weight=0.0)),
         ["fusion: the members' weights are all 0, which 'vote' cannot use"]),
    Case("no weight to pool", manifest(fusion=Geometric(), members=one(weight=0.0)),
         ["fusion: the members' weights are all 0, which 'geometric' cannot use"]),
    Case("no weight to rank",
         manifest(**RANKING | {"fusion": ReciprocalRank(), "members": one(kind="value", weight=0.0)}),
         ["fusion: the members' weights are all 0, which 'reciprocal_rank' cannot use"]),
    Case("no weight to fall back on", manifest(fusion=stacked(Weighted()), members=one(weight=0.0)),
         ["fusion: the members' weights are all 0, which 'weighted' cannot use"]),
    # limits
    Case("quorum", manifest(quorum=3), ["quorum is 3, more than the 2 members"]),
    Case("conformal regression", manifest(**REGRESSION | {"conformal": Conformal(alpha=0.1, quantile=0.5)}),
         ["conformal sets are for a classification, the task is regression"]),
    Case("queue below a batch", manifest(batching=Batching(max_batch_rows=64, max_queue_rows=32)),
         ["batching: max_queue_rows is 32, less than max_batch_rows, 64"]),
    Case("provider twice", manifest(execution=Execution(providers=(Provider(name="X"), Provider(name="X")))),
         ["execution: has 'X' more than once"]),
    Case("too many providers",
         manifest(execution=Execution(providers=tuple(Provider(name=f"p{i}") for i in range(17)))),
         ["execution: has 17 providers, the limit is 16"]),
    # files
    Case("path upwards", manifest(members=one(file="../rf.onnx")), ["file '../rf.onnx' contains '..'"]),
    Case("absolute path", manifest(members=one(file="/rf.onnx")), ["file '/rf.onnx' is absolute"]),
    Case("external path upwards", manifest(members=one(external=(File(file="../w", sha256=A, bytes=1),))),
         ["file 'members/../w' contains '..'"]),
    Case("absolute external path", manifest(members=one(external=(File(file="/w", sha256=A, bytes=1),))),
         ["file '/w' is absolute"]),
    Case("the manifest as a member", manifest(members=one(file="ensemble.json")),
         ["file 'ensemble.json' is the manifest itself"]),
    Case("one path, two contents", manifest(golden=golden("members/rf.onnx")),
         ["file 'members/rf.onnx' is named twice, with different sha256 or bytes"]),
    Case("two paths by case only", manifest(golden=golden("members/RF.onnx")),
         ["files 'members/rf.onnx' and 'members/RF.onnx' differ only in upper and lower case"]),
    Case("a file in a file", manifest(golden=golden("members")),
         ["file 'members/cnn.onnx' lies inside 'members', which is a file",
          "file 'members/rf.onnx' lies inside 'members', which is a file"]),
    Case("too many files",
         manifest(members=one(external=tuple(File(file=f"w{i}", sha256=A, bytes=1) for i in range(4095)))),
         ["names 4097 files, the limit is 4096"]),
]  # fmt: skip


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_a_broken_manifest_gets_one_sentence_per_problem(case: Case) -> None:
    assert problems(case.manifest) == case.expected


FRIENDLY = [
    manifest(),
    manifest(inputs=pixels((-1, -1, 8), image=image())),
    manifest(inputs=pixels((-1, 8, 8, 3), image=image(mode="RGB", layout="HWC"))),
    manifest(inputs=pixels((-1,), datatype="BYTES", text=TextInput())),
    manifest(members=one(classes=("2", "0", "1"), inputs={"input_1": "pixels"})),
    manifest(fusion=stacked(Weighted(temperature=0.5), temperature=2.0)),
    manifest(fusion=Mean(), members=one(weight=0.0)),
    manifest(**REGRESSION | {"fusion": Median()}),
    manifest(**RANKING | {"fusion": ReciprocalRank()}),
    manifest(task="multilabel", thresholds=(0.0, 0.3, 1.0), fusion=Vote(temperature=2.0), members=one(temperature=3.0)),
    manifest(task="multilabel", classes=("spam",), fusion=Geometric()),
    manifest(task="dense", positions=(-1, 32), fusion=Vote(temperature=0.5), members=one(temperature=2.0)),
    manifest(**EMBEDDING),
    manifest(**EMBEDDING | {"fusion": Weighted()}),
    manifest(**JOINED),
    manifest(**REGRESSION | {"value_shape": (24, 2), "fusion": Median()}),
    # Two members may share a file: one set of weights with two temperatures.
    manifest(members=(member("a", file="m.onnx"), member("b", file="m.onnx", temperature=2.0))),
]


@pytest.mark.parametrize("friendly", FRIENDLY)
def test_a_friendly_manifest_has_no_problems_and_reads_back(friendly: Manifest) -> None:
    assert problems(friendly) == []
    assert decode(encode(friendly), "it") == friendly


def test_all_problems_are_reported_at_once() -> None:
    broken = manifest(quorum=9, members=one(classes=("0", "1", "nine")))
    with pytest.raises(ManifestError) as caught:
        decode(encode(broken), "ensemble.json of digits/3")
    assert caught.value.problems == (
        "member 'rf': classes lack '2' and have unknown 'nine'",
        "quorum is 9, more than the 1 member",
    )
    assert str(caught.value) == (
        "ensemble.json of digits/3: member 'rf': classes lack '2' and have unknown 'nine'; "
        "quorum is 9, more than the 1 member"
    )
