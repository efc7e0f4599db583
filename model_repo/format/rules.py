"""What a well-typed manifest must also satisfy to make sense; one function per part.

Every function yields one sentence per problem, each naming the thing, what was given and what was expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from model_repo.format.answer_rules import answer_problems
from model_repo.format.input_rules import input_problems, tokenizer_problems
from model_repo.format.manifest import (
    FORMAT,
    MANIFEST_FILE,
    Conformal,
    File,
    Fusion,
    Geometric,
    Manifest,
    Member,
    ReciprocalRank,
    Stacked,
    Vote,
    Weighted,
)
from model_repo.format.model_rules import provider_problems, wiring_problems
from model_repo.format.paths import is_name, manifest_files, path_problem
from model_repo.format.side_rules import side_problems
from model_repo.wording import count, listed, name_problem, repeated, shortened

MAX_MEMBERS = 256
MAX_CLASSES = 100_000
MAX_CLASS_CHARS = 1024
MAX_FILES = 4096

KINDS = {
    "classification": ("probabilities", "logits"),
    "multilabel": ("probabilities", "logits"),
    "dense": ("probabilities", "logits"),
    "regression": ("value",),
    "ranking": ("probabilities", "logits", "value"),
    "embedding": ("value",),
}
"""What a member's output may be, by task."""

RULES = {
    "classification": ("mean", "weighted", "vote", "geometric", "median", "stacked"),
    "multilabel": ("mean", "weighted", "vote", "geometric", "median"),
    "dense": ("mean", "weighted", "vote", "geometric", "median"),
    "regression": ("mean", "weighted", "median"),
    "ranking": ("mean", "weighted", "reciprocal_rank"),
    "embedding": ("mean", "weighted", "concatenate"),
}
"""The fusion rules that a task has."""

CLASSLESS = ("regression", "embedding")
"""Tasks whose answers are numbers without names."""
CALIBRATED = ("classification", "multilabel", "dense")
"""Tasks whose answers are probabilities: only they have temperatures."""


def problems(manifest: Manifest) -> list[str]:
    """Every problem of the manifest, in the order of its fields; empty when it may be served."""
    return [
        *_identity(manifest),
        *_classes(manifest),
        *answer_problems(manifest),
        *input_problems(manifest.inputs),
        *tokenizer_problems(manifest.tokenizers, manifest.inputs),
        *_members(manifest),
        *_fusion(manifest),
        *side_problems(manifest),
        *_limits(manifest),
        *provider_problems("execution", manifest.execution.providers),
        *_files(manifest_files(manifest)),
    ]


def _a(task: str) -> str:
    """The task with its article."""
    return f"an {task}" if task == "embedding" else f"a {task}"


def _identity(manifest: Manifest) -> Iterator[str]:
    if manifest.format != FORMAT:
        yield f"format is {manifest.format}, this writer knows format {FORMAT}"
    if not is_name(manifest.name):
        yield name_problem("name", manifest.name)


def _classes(manifest: Manifest) -> Iterator[str]:
    classes = manifest.classes
    if manifest.task in CLASSLESS:
        if classes:
            yield f"classes has {len(classes)} names, {_a(manifest.task)} has none"
        return
    least = 1 if manifest.task == "multilabel" else 2
    if len(classes) < least:
        yield f"classes has {count(len(classes), 'name')}, a {manifest.task} has at least {least}"
    if len(classes) > MAX_CLASSES:
        yield f"classes has {len(classes)} names, the limit is {MAX_CLASSES}"
    if twice := repeated(classes):
        yield f"classes has {listed(twice)} more than once"
    for name in classes:
        if not name or len(name) > MAX_CLASS_CHARS:
            yield f"class {shortened(name)} has {len(name)} characters, expected 1 to {MAX_CLASS_CHARS}"


def _members(manifest: Manifest) -> Iterator[str]:
    members = manifest.members
    if not 1 <= len(members) <= MAX_MEMBERS:
        yield f"members has {count(len(members), 'entry', 'entries')}, expected 1 to {MAX_MEMBERS}"
    if twice := repeated(member.name for member in members):
        yield f"members has {listed(twice)} more than once"
    for member in members:
        if not is_name(member.name):
            yield name_problem("member", member.name)
        for problem in _member(member, manifest):
            yield f"member {member.name!r}: {problem}"


def _member(member: Member, manifest: Manifest) -> Iterator[str]:
    task = manifest.task
    if member.kind not in KINDS[task]:
        yield f"kind is {member.kind!r}, {_a(task)} takes {listed(KINDS[task], ' or ')}"
    if not member.output:
        yield "output is empty, expected the name of an ONNX output"
    if task not in CALIBRATED and member.temperature != 1:
        yield f"temperature is {member.temperature:g}, which only {listed(CALIBRATED, ' and ')} have"
    yield from _alignment(member, manifest)
    yield from wiring_problems(member, manifest)
    yield from provider_problems("providers", member.providers or ())


def _alignment(member: Member, manifest: Manifest) -> Iterator[str]:
    """A member's own classes are the ensemble's in another order: nothing else can be aligned by name."""
    if member.classes is None:
        return
    if manifest.task in CLASSLESS:
        yield f"classes has {count(len(member.classes), 'name')}, {_a(manifest.task)} has none"
        return
    own, whole = set(member.classes), set(manifest.classes)
    found = []
    if missing := [name for name in manifest.classes if name not in own]:
        found.append(f"lack {listed(missing)}")
    if unknown := [name for name in member.classes if name not in whole]:
        found.append(f"have unknown {listed(unknown)}")
    if twice := repeated(member.classes):
        found.append(f"have {listed(twice)} more than once")
    if found:
        yield "classes " + " and ".join(found)


def _fusion(manifest: Manifest) -> Iterator[str]:
    fusion = manifest.fusion
    rule, allowed = rule_of(fusion), RULES[manifest.task]
    if rule not in allowed:
        yield f"fusion: rule is {rule!r}, {_a(manifest.task)} takes {listed(allowed, ' or ', len(allowed))}"
    if manifest.task not in CALIBRATED and fusion.temperature != 1:
        yield f"fusion: temperature is {fusion.temperature:g}, which only {listed(CALIBRATED, ' and ')} have"
    applied = fusion.fallback if isinstance(fusion, Stacked) else fusion
    uses_weights = isinstance(applied, Weighted | Vote | Geometric | ReciprocalRank)
    if uses_weights and manifest.members and not any(member.weight for member in manifest.members):
        yield f"fusion: the members' weights are all 0, which {rule_of(applied)!r} cannot use"


def rule_of(fusion: Fusion) -> str:
    """The rule's name as the manifest writes it: `weighted`."""
    return str(fusion.__struct_config__.tag)


def _limits(manifest: Manifest) -> Iterator[str]:
    if manifest.members and manifest.quorum > len(manifest.members):
        yield f"quorum is {manifest.quorum}, more than the {count(len(manifest.members), 'member')}"
    if isinstance(manifest.conformal, Conformal) and manifest.task != "classification":
        yield f"conformal sets are for a classification, the task is {manifest.task}"
    batching = manifest.batching
    if batching.max_queue_rows < batching.max_batch_rows:
        yield (
            f"batching: max_queue_rows is {batching.max_queue_rows}, "
            f"less than max_batch_rows, {batching.max_batch_rows}"
        )


def _files(files: Sequence[File]) -> Iterator[str]:
    if len(files) > MAX_FILES:
        yield f"names {len(files)} files, the limit is {MAX_FILES}"
    known: dict[str, File] = {}
    for file in files:
        if problem := path_problem(file.file):
            yield f"file {shortened(file.file)} {problem}"
        elif file.file.casefold() == MANIFEST_FILE:
            yield f"file {file.file!r} is the manifest itself"
        else:
            yield from _clash(file, known.setdefault(file.file.casefold(), file))
    yield from _inside_files(known)


def _clash(file: File, first: File) -> Iterator[str]:
    """Two mentions of one file must agree; two files must differ in more than upper and lower case."""
    if file.file != first.file:
        yield f"files {first.file!r} and {file.file!r} differ only in upper and lower case"
    elif file != first:
        yield f"file {file.file!r} is named twice, with different sha256 or bytes"


def _inside_files(known: dict[str, File]) -> Iterator[str]:
    for path, file in known.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if (parent := known.get("/".join(parts[:depth]))) is not None:
                yield f"file {file.file!r} lies inside {parent.file!r}, which is a file"
