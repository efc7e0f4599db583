"""Which execution providers are asked for, and whether what a session got is what was asked. Pure functions.

onnxruntime takes any list and falls back to the CPU in silence: a provider it does not know gives a warning,
one whose libraries are missing gives a line on stderr. Only the finished session tells the truth.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from model_repo import Execution, OnnxModel, Provider
from server.runtime.options import RuntimeOptions
from server.runtime.sessions.provider_options import BUCKETS

CPU = "CPUExecutionProvider"

DEFAULT_OPTIONS: Mapping[str, Mapping[str, str]] = {
    # kSameAsRequested: the default doubles the arena, and two versions are resident during a swap.
    # HEURISTIC: the default benchmarks every new shape again, which a dynamic batch always has.
    # powers: a new shape costs more than padding it to one that was seen.
    # use_tf32 0: a version must reproduce its golden rows, and TF32 keeps ten bits of them.
    "CUDAExecutionProvider": {
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
        BUCKETS: "powers",
    },
    "TensorrtExecutionProvider": {BUCKETS: "powers"},
}
"""Options unlike onnxruntime's own defaults, and the server's own of `tuning`; the manifest's win over them."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What to hand to onnxruntime: known providers in order, CPU last, and the names it does not have."""

    providers: tuple[Provider, ...]
    unknown: tuple[str, ...]


def wanted(member: OnnxModel, execution: Execution, options: RuntimeOptions) -> tuple[Provider, ...]:
    """The member's own providers, else the ensemble's, else the server's; empty means CPU."""
    if member.providers is not None:
        return member.providers
    return execution.providers or options.providers


def strict(execution: Execution, options: RuntimeOptions) -> bool:
    """Whether falling back refuses the load: when either the ensemble or the operator says so."""
    return "strict" in (execution.policy, options.policy)


def select(asked: Sequence[Provider], available: Collection[str]) -> Selection:
    """The providers of `asked` that this onnxruntime was built with, with default options, and CPU at the end."""
    known = [_completed(p) for p in asked if p.name in available]
    if all(provider.name != CPU for provider in known):
        known.append(Provider(name=CPU))
    return Selection(tuple(known), tuple(p.name for p in asked if p.name not in available))


def shortfall(asked: Sequence[Provider], actual: Sequence[str], available: Collection[str], detail: str) -> str | None:
    """One sentence if a session that was asked for `asked[0]` runs on something else, else None.

    `actual` is what the session reports, `detail` what onnxruntime or the system's loader said about it.
    """
    if not asked or (actual and actual[0] == asked[0].name):
        return None
    first, got = asked[0].name, actual[0] if actual else "nothing"
    sentence = f"asked for {first}, the session runs on {got}"
    if first not in available:
        sentence += f": this onnxruntime has no {first}, it has {', '.join(sorted(available))}"
    elif detail:
        sentence += f": {detail}"
    return sentence


def _completed(provider: Provider) -> Provider:
    defaults = DEFAULT_OPTIONS.get(provider.name)
    if defaults is None:
        return provider
    return Provider(name=provider.name, options={**defaults, **provider.options})
