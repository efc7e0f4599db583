"""What any ONNX model of a manifest must satisfy: where its inputs come from, and its providers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from model_repo.format.manifest import Manifest, OnnxModel, Provider
from model_repo.wording import listed, repeated

MAX_PROVIDERS = 16


def wiring_problems(model: OnnxModel, manifest: Manifest) -> Iterator[str]:
    """One sentence per input that comes from nowhere."""
    inputs, tokenizers = ([entry.name for entry in part] for part in (manifest.inputs, manifest.tokenizers))
    for onnx_input, name in model.inputs.items():
        if not onnx_input:
            yield "inputs has an empty key, expected the name of an ONNX input"
        if name not in inputs and name not in tokenizers:
            known = f"inputs are {listed(inputs)}" + (f", its tokenizers {listed(tokenizers)}" if tokenizers else "")
            yield f"inputs takes {onnx_input!r} from {name!r}, the ensemble's {known}"


def provider_problems(where: str, providers: Sequence[Provider]) -> Iterator[str]:
    """One sentence per problem of a list of execution providers; `where` names it."""
    if len(providers) > MAX_PROVIDERS:
        yield f"{where}: has {len(providers)} providers, the limit is {MAX_PROVIDERS}"
    if any(not provider.name for provider in providers):
        yield f"{where}: a provider has an empty name"
    if twice := repeated(provider.name for provider in providers):
        yield f"{where}: has {listed(twice)} more than once"
