"""`tutti refit`: other members, other rules, the same rows; a new version that shares what did not change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from exporter import bundle as bundles
from exporter.assembling.fused import (
    Entrants,
    Fused,
    answers_kept,
    board_of,
    bundle_of,
    compare_served,
    fuse_members,
    kept,
)
from exporter.assembling.provenance import commit
from exporter.bundle import Bundle
from exporter.data.dataset import Array
from exporter.errors import AcceptanceError, BundleError, LedgerError
from exporter.foreign.objects.member import Brought
from exporter.fusing.ledger_file import inputs_npz
from exporter.gate.parity import Parity
from exporter.recipe.recipe import Head
from exporter.recipe.rule_names import RuleName
from exporter.refitting.newcomers import Asked, Newcomer, answered, joined, rows_to_answer, welcomed
from exporter.refitting.published import Published
from exporter.reporting.leaderboard import Leaderboard
from exporter.reporting.report import report_files, write_report
from exporter.threads import blas_on_one_thread
from exporter.training.jobs import libraries
from model_repo import Repository, Version

SERVED_TOLERANCE = 1e-5
"""Of served answers to the test rows: what the old members answered may be another machine's."""


@dataclass(frozen=True)
class Wanted:
    """What is to be different; nothing of it means: weights fitted anew."""

    add: Mapping[str, Newcomer] = field(default_factory=dict)
    """A name that is there already is replaced."""
    drop: tuple[str, ...] = ()
    rules: tuple[RuleName, ...] | None = None
    publish: str | None = None
    keep: Literal["useful", "all"] | None = None
    """Which members are published; None: as the recipe says."""
    data: Path | None = None
    ledger: Path | None = None
    accept_worse: bool = False
    noted: Mapping[str, Any] = field(default_factory=dict)
    """What else the new version's provenance says."""


@dataclass(frozen=True)
class Refitted:
    """What a refit gave: the new version, its leaderboard, and the loss of the version before on the same rows."""

    version: Version
    board: Leaderboard
    before: float | None


def refit(repository: Repository, name: str, version: int | None, wanted: Wanted, report: Path | None) -> Refitted:
    """Fit, compare, rehearse and publish the next version of `name` from the ledger of `version` (the newest).

    Raises ExportError or RepositoryError; nothing is published then.
    """
    started = time.perf_counter()
    number = repository.versions(name)[-1] if version is None else version
    published = Published(repository.open(name, number))
    head = _head(published, wanted)
    known, known_test = published.ledger(wanted.ledger)
    _require(published, wanted)
    asked = rows_to_answer(published, wanted.data)
    if wanted.add and asked is None:
        raise LedgerError(f"{published.where} keeps no rows for a new member to answer: give its data, --data DIR")
    with blas_on_one_thread():
        new = {} if asked is None or not wanted.add else welcomed(published, wanted.add, asked, known)
        members = _members(published, wanted, new)
        whole, test = joined(known, known_test, members, _answers(published, asked, new))
        feeds, beside = published.golden()
        golden = published.derived(feeds)
        entrants = Entrants(
            ledger=answered(whole),
            test=test,
            families={each: member.part.entry.family or "" for each, member in members.items()},
            costs=[len(member.part.data) for member in members.values()],
            latencies_ms=[member.latency_ms(golden) for member in members.values()],
        )
        fused = fuse_members(head, entrants)
        board = _board(published, head, fused, entrants, new, len(next(iter(feeds.values()))), started)
        if board.missed and not wanted.accept_worse:
            raise AcceptanceError(f"{name} is not published", board.missed)
        kept_rows = None if asked is None else inputs_npz(asked.fusion, asked.test)
        made = bundle_of(
            head, published.manifest.classes, published.manifest.inputs,
            [member.part for member in members.values()], fused, entrants,
            ([member.raw(golden) for member in members.values()], feeds),
            value_shape=published.manifest.value_shape,
            ledger=kept(head, answers_kept(fused, whole, test), kept_rows),
            tokenizers=published.tokenizers(),
            side=published.side(),
            ood_threshold=published.manifest.ood_threshold,
            beside=beside,
            execution=published.manifest.execution,
            golden_beyond=_beyond(published),
            golden_rtol=max(published.manifest.golden.rtol, bundles.GOLDEN_RTOL),
            report=_report(published, board),
            provenance=_provenance(published, wanted, new, head),
        )  # fmt: skip
        opened = _publish(made, repository, fused, asked)
    if report is not None:
        files = report_files(board, made.classes, fused.answer, fused.best_answer, test.target)
        write_report(report, files, name)
    return Refitted(opened, board, _before(published, head))


def _head(published: Published, wanted: Wanted) -> Head:
    """The recipe's head with what is wanted otherwise."""
    head = published.head()
    members = {member.name for member in published.manifest.members} - set(wanted.drop) | set(wanted.add)
    fusion = msgspec.structs.replace(head.fusion, quorum=max(1, min(head.fusion.quorum, len(members))))
    if wanted.rules is not None:
        fusion = msgspec.structs.replace(fusion, rules=wanted.rules, publish="auto")
    if wanted.publish is not None:
        fusion = msgspec.structs.replace(fusion, publish=wanted.publish)
        if wanted.publish != "auto" and wanted.publish not in (fusion.rules or head.rules):
            fusion = msgspec.structs.replace(fusion, rules=(*(fusion.rules or ()), wanted.publish))
    if wanted.keep is not None:
        fusion = msgspec.structs.replace(fusion, keep=wanted.keep)
    return msgspec.structs.replace(head, fusion=fusion)


def _require(published: Published, wanted: Wanted) -> None:
    names = [member.name for member in published.manifest.members]
    if unknown := [name for name in wanted.drop if name not in names]:
        raise BundleError(published.where, [f"has no member {', '.join(unknown)} to drop; it has {', '.join(names)}"])
    if not set(names) - set(wanted.drop) | set(wanted.add):
        raise BundleError(published.where, ["would have no member left"])


def _members(published: Published, wanted: Wanted, new: Mapping[str, tuple[Brought, Parity]]) -> dict[str, Brought]:
    """Those that stay, in their order, then the new ones; one of the same name takes the old one's place."""
    members = {
        entry.name: new[entry.name][0] if entry.name in new else published.member(entry.name)
        for entry in published.manifest.members
        if entry.name not in wanted.drop or entry.name in new
    }
    return members | {name: member for name, (member, _) in new.items() if name not in members}


def _board(
    published: Published,
    head: Head,
    fused: Fused,
    entrants: Entrants,
    new: Mapping[str, tuple[Brought, Parity]],
    golden: int,
    started: float,
) -> Leaderboard:
    split = {"validation": len(entrants.ledger.rows), "test": len(entrants.test.rows), "golden": golden}
    parity = {name: found.largest_difference for name, (_, found) in new.items()}
    seconds = round(time.perf_counter() - started, 1)
    classes, target = published.manifest.classes, entrants.test.target
    return board_of(head, classes, fused, target, split, preset="refit", seconds=seconds, parity=parity)


def _answers(
    published: Published, asked: Asked | None, new: Mapping[str, tuple[Brought, Parity]]
) -> dict[str, tuple[Array, Array]]:
    """The new members' raw answers to fusion rows and test rows."""
    if not new or asked is None:
        return {}
    fusion, test = published.derived(asked.fusion), published.derived(asked.test)
    return {name: (member(fusion), member(test)) for name, (member, _) in new.items()}


def _publish(made: Bundle, repository: Repository, fused: Fused, asked: Asked | None) -> Version:
    """Rehearsed as a server loads it; with the test rows at hand its answers to them are compared as well."""
    with bundles.rehearsed(made) as ensemble:
        if asked is not None:
            compare_served(ensemble, fused.answer, asked.test, SERVED_TOLERANCE, made.golden_beyond)
    return bundles.publish(made, repository)


def _beyond(published: Published) -> float:
    """What the version's members in 8 bits may differ more, by its own golden rows."""
    manifest = published.manifest
    return max(0.0, manifest.golden.atol - bundles.usual_atol(manifest.task, published.golden_answers()))


def _report(published: Published, board: Leaderboard) -> dict[str, Any]:
    """The new figures; what was known of detectors stays."""
    old = published.manifest.report
    return board.manifest_report() | {key: old[key] for key in ("detectors",) if key in old}


def _before(published: Published, head: Head) -> float | None:
    """The published rule's loss of the version before, on the same test rows."""
    figure = published.manifest.report.get("fused", {}).get(head.objective.metric)
    return float(figure) if isinstance(figure, int | float) else None


def _provenance(
    published: Published, wanted: Wanted, new: Mapping[str, tuple[Brought, Parity]], head: Head
) -> dict[str, Any]:
    """Where the version before came from, and what was changed."""
    from hashlib import sha256

    change: dict[str, Any] = {
        "from": published.version.version,
        "digest": published.version.digest,
        "added": {name: sha256(member.part.data).hexdigest() for name, (member, _) in new.items()},
        "dropped": list(wanted.drop),
        "rules": list(head.rules),
        "publish": head.fusion.publish,
        "keep": head.fusion.keep,
        "libraries": libraries(),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if (revision := commit()) is not None:
        change["commit"] = revision
    return {**published.manifest.provenance, "refit": change, **wanted.noted}
