"""Any valid manifest, and any routes, survive being written and read."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_repo import (
    FORMAT,
    Batching,
    Canary,
    Conformal,
    Execution,
    File,
    Fusion,
    Geometric,
    Golden,
    ImageInput,
    Input,
    LedgerFile,
    Manifest,
    Mean,
    Median,
    Member,
    Provider,
    ReciprocalRank,
    Routes,
    Stacked,
    TextInput,
    Vote,
    Weighted,
    decode,
    encode,
    manifest_files,
    problems,
)
from model_repo.format.manifest import Datatype, Task
from model_repo.format.rules import CALIBRATED, CLASSLESS
from model_repo.store.routes import decode_routes, encode_routes

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
amounts = st.floats(0, 1e6)
positives = st.floats(1e-6, 1e6)
sizes = st.integers(0, 2**60)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(words, json_values, max_size=3)
providers = st.lists(
    st.builds(Provider, name=words, options=st.dictionaries(words, words, max_size=2)),
    max_size=3,
    unique_by=lambda provider: provider.name,
).map(tuple)
calibrated: st.SearchStrategy[Any] = st.one_of(
    st.builds(Mean, temperature=positives),
    st.builds(Weighted, temperature=positives),
    st.builds(Vote, temperature=positives),
    st.builds(Geometric, temperature=positives, floor=st.floats(1e-30, 0.1)),
    st.builds(Median, temperature=positives),
)
learned = st.builds(Stacked, file=st.just("fusion.onnx"), sha256=digests, bytes=sizes, fallback=calibrated)
RULES: dict[str, st.SearchStrategy[Fusion]] = {
    "classification": calibrated | learned,
    "multilabel": calibrated,
    "dense": calibrated,
    "embedding": st.sampled_from([Mean(), Weighted()]),
    "regression": st.sampled_from([Mean(), Weighted(), Median()]),
    "ranking": st.builds(ReciprocalRank, constant=positives) | st.just(Weighted()),
}


TASKS: list[Task] = ["classification", "multilabel", "dense", "regression", "ranking", "embedding"]
DATATYPES: list[Datatype] = ["BOOL", "INT64", "FP16", "FP64", "BYTES"]


VALUE_SHAPES: dict[str, st.SearchStrategy[tuple[int, ...]]] = {
    "regression": st.lists(st.integers(1, 9), max_size=4).map(tuple),
    "embedding": st.tuples(st.integers(1, 9)),
}


@st.composite
def inputs(draw: st.DrawFn, name: str) -> Input:
    body = draw(st.sampled_from(["none", "image", "text"]))
    if body == "text":
        text = TextInput(max_chars=draw(st.integers(1, 10**6)))
        return Input(name=name, datatype="BYTES", shape=(-1, 1), text=text)
    if body == "image":
        height, width = draw(st.integers(1, 64)), draw(st.integers(1, 64))
        image = ImageInput(mode="RGB", width=width, height=height, layout="CHW", scale=draw(positives))
        return Input(name=name, datatype="FP32", shape=(-1, 3, height, width), image=image)
    datatype = draw(st.sampled_from(DATATYPES))
    rest = draw(st.lists(st.integers(1, 512) | st.just(-1), max_size=4))
    return Input(name=name, datatype=datatype, shape=(-1, *rest))


@st.composite
def members(draw: st.DrawFn, name: str, task: str, classes: tuple[str, ...], inputs: list[str]) -> Member:
    external = File(file=f"{name}.data", sha256=draw(digests), bytes=draw(sizes))
    return Member(
        name=name,
        file=f"members/{name}/model.onnx",
        sha256=draw(digests),
        bytes=draw(sizes),
        output=draw(words),
        kind=draw(st.sampled_from(["probabilities", "logits"])) if task in CALIBRATED else "value",
        external=draw(st.sampled_from([(), (external,)])),
        inputs=draw(st.dictionaries(words, st.sampled_from(inputs), max_size=2)),
        classes=draw(st.none() | st.permutations(classes).map(tuple)) if classes else None,
        weight=draw(positives),
        temperature=draw(positives) if task in CALIBRATED else 1.0,
        providers=draw(st.none() | providers),
        required=draw(st.booleans()),
        family=draw(st.none() | words),
    )


ledgers = st.builds(
    LedgerFile,
    file=st.just("ledger.npz"),
    sha256=digests,
    bytes=sizes,
    inputs=st.none() | st.builds(File, file=st.just("ledger-inputs.npz"), sha256=digests, bytes=sizes),
)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    task = draw(st.sampled_from(TASKS))
    some = st.lists(words, min_size=2, max_size=6, unique=True)
    classes = () if task in CLASSLESS else tuple(draw(some))
    input_names = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    # Unique without regard to case: they name files here.
    member_names = draw(st.lists(names, min_size=1, max_size=4, unique_by=str.casefold))
    conformal = st.builds(Conformal, alpha=st.floats(0.01, 0.99), quantile=st.floats(0, 1))
    max_batch_rows = draw(st.integers(1, 65536))
    return Manifest(
        format=FORMAT,
        name=draw(names),
        version=draw(st.integers(1, 2**40)),
        task=task,
        inputs=tuple(draw(inputs(name)) for name in input_names),
        members=tuple(draw(members(name, task, classes, input_names)) for name in member_names),
        fusion=draw(RULES[task]),
        quorum=draw(st.integers(1, len(member_names))),
        golden=Golden(file="golden.npz", sha256=draw(digests), bytes=draw(sizes), rows=draw(st.integers(1, 100)),
                      atol=draw(amounts)),
        classes=classes,
        thresholds=tuple(draw(st.floats(0, 1)) for _ in classes) if task == "multilabel" else (),
        value_shape=draw(VALUE_SHAPES.get(task, st.just(()))),
        positions=draw(st.lists(st.integers(1, 9) | st.just(-1), min_size=1, max_size=5).map(tuple))
        if task == "dense"
        else (),
        conformal=draw(st.none() | conformal) if task == "classification" else None,
        ledger=draw(st.none() | ledgers),
        batching=Batching(
            max_batch_rows=max_batch_rows,
            max_queue_rows=draw(st.integers(max_batch_rows, 10_000_000)),
            max_queue_delay_s=draw(st.floats(0, 60)),
            timeout_s=draw(st.floats(0.001, 3600)),
        ),
        execution=Execution(providers=draw(providers), policy=draw(st.sampled_from(["strict", "prefer"]))),
        description=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=30)),
        report=draw(objects),
        provenance=draw(objects),
    )  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(manifests())
def test_a_manifest_survives_being_written_and_read(manifest: Manifest) -> None:
    assert problems(manifest) == []
    assert decode(encode(manifest), "it") == manifest


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(manifests())
def test_each_file_of_a_manifest_is_listed_once(manifest: Manifest) -> None:
    listed = [file.file for file in manifest_files(manifest)]
    assert len(listed) == len(set(listed))
    assert {"golden.npz", *(member.file for member in manifest.members)} <= set(listed)


versions = st.integers(1, 10**9)
routes = st.builds(
    Routes,
    stable=st.none() | versions,
    canary=st.none() | st.builds(Canary, version=versions, percent=st.floats(0, 100)),
    shadow=st.none() | versions,
    labels=st.dictionaries(names, versions, max_size=3),
    history=st.lists(versions, max_size=16).map(tuple),
    generation=st.integers(0, 2**40),
)


@given(routes)
def test_routes_survive_being_written_and_read(routes: Routes) -> None:
    assert decode_routes(encode_routes(routes), "it") == routes
