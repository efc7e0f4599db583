"""Whose parameters may be averaged: networks of one structure that come from one base."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exporter.errors import ParametersError
from exporter.optimisation.state import structure_of
from exporter.parameters.file import Parameters
from model_repo.wording import listed

ADVICE = "fuse their answers instead (tutti refit)"
MEASURED = "the mean of networks that were trained apart knows nothing: 16% where each had 96.7% (digits)"


def require_one_lineage(members: Mapping[str, Parameters]) -> None:
    """Raise ParametersError, saying who differs, unless all are of one structure and one root."""
    shapes = _groups(members, lambda found: structure_of(found.networks))
    if len(shapes) > 1:
        raise ParametersError(
            f"{_told(shapes)} have networks of different structure, whose parameters have no mean: {ADVICE}"
        )
    roots = _groups(members, lambda found: found.root)
    if len(roots) > 1:
        raise ParametersError(
            f"{_told(roots)} were not trained from one base, and {MEASURED}: {ADVICE}, or train them with one init_from"
        )


def _groups(members: Mapping[str, Parameters], of: Callable[[Parameters], str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name, parameters in members.items():
        groups.setdefault(of(parameters), []).append(name)
    return list(groups.values())


def _told(groups: list[list[str]]) -> str:
    """`'a', 'b' and 'c'`: the members of each group, groups side by side."""
    return " and ".join(listed(names) for names in groups)
