"""What detectors and extras must satisfy: models of a version that never vote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from model_repo.format.manifest import Detector, Extra, Manifest, OnnxModel
from model_repo.format.model_rules import provider_problems, wiring_problems
from model_repo.format.paths import is_name
from model_repo.wording import listed, name_problem, repeated

MAX_DETECTORS = 32
MAX_EXTRAS = 32
MAX_QUANTILES = 10_001
MAX_EXTRA_DIMENSIONS = 8

OUTPUTS = (
    "probabilities", "label", "confidence", "agreement", "entropy", "mutual_information", "conformal_set", "members",
    "value", "std", "scores", "ranking", "ood_score", "in_distribution",
)  # fmt: skip
"""The names of outputs that some ensemble offers by itself; no extra may take one."""
OUTPUTS_OF: dict[str, tuple[str, ...]] = {"multilabel": ("labels",), "dense": ("index",), "embedding": ("embedding",)}
"""Further names, which only ensembles of a task offer."""


def side_problems(manifest: Manifest) -> Iterator[str]:
    """One sentence per problem of the detectors, their threshold and the extras."""
    yield from _models("detector", manifest.detectors, MAX_DETECTORS, manifest)
    yield from _models("extra", manifest.extras, MAX_EXTRAS, manifest)
    yield from _names(manifest)
    for detector in manifest.detectors:
        for problem in _quantiles(detector):
            yield f"detector {detector.name!r}: {problem}"
    if manifest.detectors and not any(detector.weight for detector in manifest.detectors):
        yield "detectors: the weights are all 0, which gives no score"
    if manifest.ood_threshold is not None and not manifest.detectors:
        yield f"ood_threshold is {manifest.ood_threshold:g}, but there is no detector"
    for extra in manifest.extras:
        for problem in _shape(extra):
            yield f"extra {extra.name!r}: {problem}"


def _models(noun: str, models: Sequence[OnnxModel], most: int, manifest: Manifest) -> Iterator[str]:
    if len(models) > most:
        yield f"{noun}s has {len(models)} entries, the limit is {most}"
    for model in models:
        if not is_name(model.name):
            yield name_problem(noun, model.name)
        if not model.output:
            yield f"{noun} {model.name!r}: output is empty, expected the name of an ONNX output"
        for problem in (*wiring_problems(model, manifest), *provider_problems("providers", model.providers or ())):
            yield f"{noun} {model.name!r}: {problem}"


def _names(manifest: Manifest) -> Iterator[str]:
    """Failures and figures are told by name, so the three kinds of models have distinct ones."""
    twice = set(repeated(model.name for model in manifest.models)) - set(
        repeated(member.name for member in manifest.members)
    )
    if twice:
        yield f"members, detectors and extras have {listed(sorted(twice))} more than once"
    for extra in manifest.extras:
        if extra.name in (*OUTPUTS, *OUTPUTS_OF.get(manifest.task, ())):
            yield f"extra {extra.name!r} has the name of an output that ensembles have by themselves"


def _quantiles(detector: Detector) -> Iterator[str]:
    quantiles = detector.quantiles
    if not 2 <= len(quantiles) <= MAX_QUANTILES:
        yield f"quantiles has {len(quantiles)} values, expected 2 to {MAX_QUANTILES}"
    for place, (low, high) in enumerate(pairwise(quantiles)):
        if not low <= high:
            yield f"quantiles[{place}] is {low:g}, more than the next, {high:g}; expected ascending"
            return


def _shape(extra: Extra) -> Iterator[str]:
    shape = extra.shape
    if not shape or shape[0] != -1 or any(size < 1 for size in shape[1:]):
        yield f"shape is {list(shape[:MAX_EXTRA_DIMENSIONS])}, expected -1, the rows, then fixed sizes of 1 or more"
    if len(shape) > MAX_EXTRA_DIMENSIONS:
        yield f"shape has {len(shape)} dimensions, the limit is {MAX_EXTRA_DIMENSIONS}"
