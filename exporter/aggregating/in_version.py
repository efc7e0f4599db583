"""`tutti aggregate`: a new version with a member whose parameters are a mean of other members' of one version."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from exporter.aggregating.jobs import mixed_job
from exporter.aggregating.lineage import require_one_lineage
from exporter.aggregating.mixing import mixed
from exporter.aggregating.trial import Trial, loss_of
from exporter.data.dataset import Dataset, Rows
from exporter.errors import BundleError, ParametersError
from exporter.foreign.objects.member import Said
from exporter.members.base import Family
from exporter.parameters.file import Parameters, read
from exporter.parameters.sources import of_version
from exporter.recipe.lineage import Aggregate
from exporter.recipe.recipe import Recipe, member_of
from exporter.refitting.newcomers import Newcomer, loaded_again
from exporter.refitting.published import Published
from exporter.refitting.refit import Refitted, Wanted, refit
from exporter.reporting.leaderboard import Leaderboard
from exporter.reporting.mixtures import Mixture
from exporter.training.jobs import FINAL, Job, Made, run_job
from model_repo import Repository

_TIMED_ROWS = 1


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """A member, or a fused answer, on the test rows, and what it takes."""

    name: str
    what: Literal["member", "aggregate", "fused"]
    figures: dict[str, float]
    latency_ms: float
    """Of one row alone on one thread; fused: its members one after the other."""
    bytes: int
    """Of the ONNX files."""


@dataclass(frozen=True)
class Asked:
    """What `tutti aggregate` is asked for."""

    aggregate: Aggregate
    name: str
    """Of the new member."""
    data: Path | None = None
    only: bool = False
    """The new member is the ensemble's only one."""
    keep: Literal["useful", "all"] = "all"
    accept_worse: bool = False


@dataclass(frozen=True)
class Aggregated:
    """What came of it."""

    mixture: Mixture
    refitted: Refitted
    costs: tuple[Cost, ...]
    """The members that were averaged, the aggregate, the fused answers of the version before and of the new one."""


def aggregate(repository: Repository, name: str, version: int | None, asked: Asked, report: Path | None) -> Aggregated:
    """Mix, convert, check, fit the fusion anew and publish the next version.

    Raises ExportError or RepositoryError; nothing is published then.
    """
    number = repository.versions(name)[-1] if version is None else version
    published = Published(repository.open(name, number))
    members = _parameters(published, asked)
    recipe, dataset, split = loaded_again(published, asked.data)
    template = Job(asked.name, _spec(recipe, next(iter(members.values()))), FINAL, _seed(members))
    rows = dataset.rows.take(split.fusion)
    losses = _losses(published, members, rows, recipe)
    networks = {member: parameters.networks for member, parameters in members.items()}
    mixture = mixed(asked.name, asked.aggregate, losses, Trial(template, networks, dataset, split, recipe.objective))
    made = run_job(mixed_job(asked.name, template, members, mixture.weights), dataset, split)
    with tempfile.TemporaryDirectory(prefix="tutti-aggregate-") as folder:
        path = Path(folder) / f"{asked.name}.onnx"
        path.write_bytes(made.onnx)
        wanted = _wanted(
            published, asked, Newcomer(path, _said(made, template.spec, dataset), made.parameters), mixture
        )
        refitted = refit(repository, name, number, wanted, report)
    return Aggregated(mixture, refitted, _costs(published, repository, refitted, asked))


def _parameters(published: Published, asked: Asked) -> dict[str, Parameters]:
    """Of the members that are asked for. Raises ParametersError, BundleError."""
    if asked.name in (member.name for member in published.manifest.members):
        raise BundleError(
            published.where, [f"has a member {asked.name!r} already: --as gives the new one another name"]
        )
    found = {}
    for member in asked.aggregate.members:
        start = of_version(published.version, member)
        found[member] = read(start.data, start.source)
    require_one_lineage(found)
    return found


def _spec(recipe: Recipe, parameters: Parameters) -> Family:
    """Of the members' family, as the parameters' file has it. Raises ParametersError where that is not known here."""
    if parameters.facts is None:
        raise ParametersError("a version's parameters without metadata; this is a bug")
    facts = parameters.facts
    return member_of(recipe.data.domain, facts.spec, f"parameters of {facts.member!r}")


def _seed(members: Mapping[str, Parameters]) -> int:
    facts = next(iter(members.values())).facts
    return 0 if facts is None else facts.seed


def _losses(published: Published, members: Mapping[str, Parameters], rows: Rows, recipe: Recipe) -> dict[str, float]:
    """Each member's on the validation rows, by its own graph."""
    found = {}
    for name in members:
        member = published.member(name)
        found[name] = loss_of(member(rows.inputs), member.part.entry.kind, rows, recipe.objective)
    return found


def _said(made: Made, spec: Family, dataset: Dataset) -> Said:
    return Said(
        kind=made.kind, classes=dataset.classes or None, output=made.output_name, family=spec.family, ordered=True
    )


def _wanted(published: Published, asked: Asked, newcomer: Newcomer, mixture: Mixture) -> Wanted:
    others = tuple(member.name for member in published.manifest.members)
    return Wanted(
        add={asked.name: newcomer},
        drop=others if asked.only else (),
        keep="all" if asked.only else asked.keep,
        data=asked.data,
        accept_worse=asked.accept_worse,
        noted={"aggregate": msgspec.to_builtins(mixture)},
    )


def _costs(published: Published, repository: Repository, refitted: Refitted, asked: Asked) -> tuple[Cost, ...]:
    """Side by side: every latency is measured now, one after the other on this machine."""
    new = Published(repository.open(refitted.version.name, refitted.version.version))
    before, after, board = _latencies(published), _latencies(new), refitted.board
    report = published.manifest.report
    sizes = _sizes(published) | _sizes(new)
    found = [
        Cost(name=name, what="member", figures=_shown(report.get("members", {}).get(name, {}), board),
             latency_ms=before[name], bytes=sizes[name])
        for name in asked.aggregate.members
    ]  # fmt: skip
    if asked.name in after:
        own = msgspec.to_builtins(board.row(asked.name).metrics)
        found.append(Cost(name=asked.name, what="aggregate", figures=_shown(own, board), latency_ms=after[asked.name],
                          bytes=sizes[asked.name]))  # fmt: skip
    for version, latencies in ((published, before), (new, after)):
        figures = version.manifest.report.get("fused", {})
        found.append(
            Cost(name=f"{version.where} ({figures.get('rule', '')} over {len(latencies)})", what="fused",
                 figures=_shown(figures, board), latency_ms=sum(latencies.values()),
                 bytes=sum(file.bytes for file in _files(version).values()))
        )  # fmt: skip
    return tuple(found)


def _latencies(published: Published) -> dict[str, float]:
    golden = published.derived(published.golden()[0])
    first = {name: array[:_TIMED_ROWS] for name, array in golden.items()}
    return {entry.name: published.member(entry.name).latency_ms(first) for entry in published.manifest.members}


def _sizes(published: Published) -> dict[str, int]:
    return {member.name: member.bytes for member in published.manifest.members}


def _files(published: Published) -> dict[str, Any]:
    return {member.file: member for member in published.manifest.members}


def _shown(figures: Mapping[str, Any], board: Leaderboard) -> dict[str, float]:
    return {
        name: float(figures[name]) for name in board.shown if isinstance(figures.get(name), int | float | np.number)
    }
