"""From members' answers to one ensemble: fitted, measured, compared, bundled. Export, refit and the API share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter import bundle as bundles
from exporter.assembling.comparison import Compared, Trial, compare, subsets_of
from exporter.assembling.evaluation import evaluate, missed
from exporter.assembling.useful import Published, published
from exporter.bundle import Bundle, LedgerFiles, Part
from exporter.data.dataset import Array, Rows
from exporter.errors import BundleError, DataError
from exporter.fusing.conformal import conformal_quantile
from exporter.fusing.labels import fit_thresholds
from exporter.fusing.ledger import Ledger
from exporter.fusing.ledger_file import LedgerTest, answers_npz
from exporter.fusing.rules import calibrated_stack
from exporter.fusing.selection import CROSS_FITS, Fusing, fit_fusion
from exporter.fusing.subsets import only
from exporter.gate.inference import batches
from exporter.recipe.recipe import Head
from exporter.reporting.label_rows import LabelRow, label_rows
from exporter.reporting.leaderboard import Leaderboard, Row
from model_repo import Input, Vote
from model_repo.format.manifest import THRESHOLD
from server.runtime import LoadedEnsemble
from server.runtime.answer.outputs import FUSED_OUTPUT
from server.runtime.golden.closeness import closeness, typical

SERVED_ROWS = 256
"""Rows of one batch of the comparison with a served version."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Entrants:
    """The members' raw answers to validation and test rows, and what each member costs, in the ledger's order."""

    ledger: Ledger
    test: LedgerTest
    families: Mapping[str, str]
    costs: Sequence[float]
    """Bytes, not milliseconds: ties must not hang on a clock."""
    latencies_ms: Sequence[float]


@dataclass(frozen=True)
class Fused:
    """What was fitted to the ledger, and how it does on the test rows."""

    fusing: Fusing
    """To all members."""
    chosen: Published
    """The members that are published and the rule over them."""
    answer: Floats
    """Its answers [m, C] to the test rows."""
    best_single: str
    """The member that is best on the test rows."""
    best_answer: Floats
    """Its answers [m, C]."""
    rows: tuple[Row, ...]
    compared: Compared
    thresholds: tuple[float, ...] = ()
    """Of labels that do not exclude each other: from where on each holds; none for votes, whose labels are theirs."""

    @property
    def published(self) -> Row:
        """The published rule's row."""
        return next(row for row in self.rows if row.kind == "rule" and row.name == self.chosen.rule.name)


def fuse_members(head: Head, entrants: Entrants) -> Fused:
    """Temperatures, rules, the choice of rule and members, figures on the test rows, diversity and Pareto list."""
    ledger, test, objective = entrants.ledger, entrants.test, head.objective
    _require_rows(ledger)
    fusing = fit_fusion(ledger, head.rules, head.fusion.publish, entrants.costs, head.seed, objective)
    P = calibrated_stack(test.outputs, ledger.kinds, fusing.temperatures, ledger.labels)
    subsets = subsets_of(ledger, fusing, head.rules, entrants.costs, head.seed, objective)
    chosen = published(ledger, fusing, entrants.costs, head, subsets)
    measured = Rows.of({}, test.target, group=test.group)
    families, latencies = entrants.families, entrants.latencies_ms
    rows = evaluate(ledger, fusing, chosen, test.outputs, measured, families, latencies, objective)
    members = {row.name: row.metrics.figure(objective.metric) for row in rows if row.kind == "member"}
    best = min(members, key=lambda name: members[name])
    compared = compare(ledger, fusing, subsets, Trial(P, test.target, latencies))
    thresholds: tuple[float, ...] = ()
    if ledger.labels and not isinstance(chosen.rule.fusion, Vote):  # whose labels are the majority's
        thresholds = fit_thresholds(chosen.validation, ledger.target)
    best_answer = P[ledger.members.index(best)]
    return Fused(fusing, chosen, chosen(P), best, best_answer, tuple(rows), compared, thresholds)


def _require_rows(ledger: Ledger) -> None:
    """Raise DataError unless every fifth of the rows can hold every class: rules are compared on such fifths."""
    if ledger.labels or any(kind == "value" for kind in ledger.kinds):
        if len(ledger.rows) < CROSS_FITS:
            raise DataError(f"there are {len(ledger.rows)} rows, at least {CROSS_FITS} are needed to fit a fusion")
        return
    counts = np.bincount(ledger.target, minlength=ledger.outputs[0].shape[1])
    if (counts < CROSS_FITS).any():
        label = int(counts.argmin())
        raise DataError(
            f"class {label} has {counts[label]} of the rows that no member was trained on, "
            f"at least {CROSS_FITS} are needed to fit a fusion"
        )


def board_of(
    head: Head, classes: Sequence[str], fused: Fused, target: Array, split: Mapping[str, int], **more: Any
) -> Leaderboard:
    """The leaderboard of test rows with `target`; `more` are its fields about this run: preset, seconds, parity."""
    labels: tuple[LabelRow, ...] = ()
    if head.task == "multilabel":
        thresholds = fused.thresholds or (THRESHOLD,) * len(classes)
        labels = label_rows(classes, thresholds, fused.answer, fused.best_answer, target)
    fusing, chosen, metric = fused.fusing, fused.chosen, head.objective.metric
    members = {row.name: row.metrics for row in fused.rows if row.kind == "member"}
    names = [list(members)[k] for k in chosen.members]
    # One member alone was chosen on validation rows: another that is better on these is no reason to serve neither.
    rivals = members if len(names) > 1 else {name: members[name] for name in names}
    temperatures = dict(zip(members, (round(value, 6) for value in fusing.temperatures), strict=True))
    return Leaderboard(
        ensemble=head.name,
        metric=metric,
        rows=fused.rows,
        published=chosen.rule.name,
        reason=fusing.reason,
        left_out=tuple(name for name in members if name not in names),
        enough=chosen.reason,
        best_single=fused.best_single,
        split=dict(split),
        seed=head.seed,
        weights=dict(zip(names, chosen.rule.weights.round(6).tolist(), strict=True)),
        temperatures={**temperatures, "fused": round(chosen.rule.fusion.temperature, 6)},
        missed=tuple(missed(head.acceptance, fused.published.metrics, rivals, head.objective)),
        diversity=fused.compared.diversity,
        pareto=fused.compared.pareto,
        labels=labels,
        **more,
    )


def bundle_of(
    head: Head,
    classes: Sequence[str],
    inputs: Sequence[Input],
    parts: Sequence[Part],
    fused: Fused,
    entrants: Entrants,
    golden: tuple[Sequence[Array], Mapping[str, Array]],
    value_shape: Sequence[int] = (),
    **more: Any,
) -> Bundle:
    """The version to be. `golden` are the members' raw answers to the golden rows, and those rows as clients send them.

    `parts` and raw answers are of all members, in the ledger's order; those that are not published stay out. `more`
    are further fields of the bundle. Raises BundleError.
    """
    chosen, rule = fused.chosen, fused.chosen.rule
    weighed = [
        replace(parts[k], entry=msgspec.structs.replace(
            parts[k].entry, weight=float(weight), temperature=fused.fusing.temperatures[k]
        ))
        for k, weight in zip(chosen.members, rule.weights, strict=True)
    ]  # fmt: skip
    entries = [part.entry for part in weighed]
    manifest = bundles.draft(head.name, head.task, classes, inputs, entries, rule.fusion, value_shape)
    raw, feeds = [golden[0][k] for k in chosen.members], golden[1]
    alpha = head.fusion.alpha if head.task == "classification" else None
    return Bundle(
        name=head.name,
        task=head.task,
        classes=tuple(classes),
        inputs=tuple(inputs),
        parts=tuple(weighed),
        fusion=rule.fusion,
        quorum=head.fusion.quorum,
        golden=bundles.golden_rows(manifest, raw, feeds, rule.stacker),
        stacker=None if rule.stacker is None else rule.stacker.data,
        conformal=None if alpha is None else conformal_quantile(chosen.validation, entrants.ledger.target, alpha),
        thresholds=fused.thresholds,
        value_shape=tuple(value_shape),
        batching=head.batching,
        description=head.description,
        **more,
    )


def answers_kept(fused: Fused, ledger: Ledger, test: LedgerTest) -> bytes:
    """`ledger.npz` of the members that are published."""
    members = fused.chosen.members
    outputs = tuple(test.outputs[k] for k in members)
    return answers_npz(only(ledger, members), replace(test, outputs=outputs))


def kept(head: Head, answers: bytes, inputs: bytes | None) -> LedgerFiles | None:
    """What of the ledger goes into the version, as the recipe has it."""
    if head.fusion.ledger == "none":
        return None
    return LedgerFiles(answers, inputs if head.fusion.ledger == "rows" else None)


def compare_served(
    ensemble: LoadedEnsemble, answer: Floats, feeds: Mapping[str, Array], tolerance: float, beyond: float = 0.0
) -> None:
    """Raise BundleError unless the loaded version answers the rows as the leaderboard's figures were made.

    `answer` [m, C]. Values have no scale of their own: `tolerance` is a share of each, and of a usual one; `beyond` is
    what they may differ more, as they are.
    """
    manifest = ensemble.manifest
    name = FUSED_OUTPUT[manifest.task]
    parts = batches({entry.name: feeds[entry.name] for entry in manifest.inputs}, SERVED_ROWS)
    served = np.concatenate([ensemble.predict(part, [name]).outputs[name] for part in parts])
    wanted = answer.reshape(served.shape).astype(served.dtype)
    values = manifest.task == "regression"
    atol = tolerance * max(1.0, typical(wanted)) if values else tolerance
    found = closeness(served, wanted, atol + beyond, tolerance if values else 0.0)
    if found.far.any():
        place = found.worst
        raise BundleError(
            manifest.name,
            [f"served answers differ from the fitted ones by {found.difference[place]:.2g}, "
             f"tolerance {found.allowed[place]:.2g}"],
        )  # fmt: skip
