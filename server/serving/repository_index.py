"""The repository index: every version that is or was to be served, and why where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from model_repo import naming
from server.serving.reconciler import Reconciler


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One line; `state` as on the wire, `digest` the loaded manifest's sha256. Without a version: of the ensemble."""

    name: str
    version: int | None
    state: str
    reason: str = ""
    digest: str = ""


def entries(reconcilers: Mapping[str, Reconciler], why_not: Callable[[str], str]) -> Iterator[IndexEntry]:
    """The lines of all ensembles, by name and version; `why_not` says why one without versions does not serve."""
    for name, reconciler in sorted(reconcilers.items()):
        problem, misnamed = reconciler.aspired.problem, reconciler.aspired.misnamed
        if problem or not (reconciler.states or misnamed):
            yield IndexEntry(name, None, "UNAVAILABLE", problem or why_not(name))
        for folder in misnamed:
            yield IndexEntry(name, None, "UNAVAILABLE", naming(folder))
        for version, state in sorted(reconciler.states.items()):
            yield IndexEntry(name, version, state.state, state.reason, reconciler.digest(version))
