"""One export from data to a published version. Until the last step nothing is visible in the repository."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter import bundle as bundles
from exporter.bundle import Bundle, Part
from exporter.data import Cleaning, Dataset, Split, clean, split
from exporter.errors import AcceptanceError, BundleError, DataError, ExportError
from exporter.evaluation import Panel, evaluate, missed
from exporter.fusing.conformal import conformal_quantile
from exporter.fusing.ledger import Ledger, ledger_of
from exporter.fusing.selection import Fusing, fit_fusion
from exporter.inference import Graph, batches
from exporter.jobs import FINAL, Job, Made
from exporter.options import Options
from exporter.provenance import provenance
from exporter.recipe import Recipe
from exporter.reporting.leaderboard import Leaderboard, Row, as_json, as_text
from exporter.reporting.picture import as_png
from exporter.threads import blas_on_one_thread
from exporter.training_run import Report, train_members
from exporter.work import WorkFolder
from model_repo import Member, Repository, Version
from server.runtime import LoadedEnsemble
from server.runtime.outputs import FUSED_OUTPUT

SERVED_TOLERANCE = 1e-6
"""Served answers are float32, the offline ones float64: half a unit of the last place at 1 is 6e-8."""
DERIVED_TOLERANCE = 1e-5
"""Where the server makes tensors of its own, such as token ids: it pads them to the longest of a batch, the
exporter to the longest of all, and a network then adds up in another order."""
SERVED_ROWS = 256
"""Rows of one batch of that comparison."""

_STEPS = ("fusion", "leaderboard", "rehearsal", "publication")


@dataclass(frozen=True)
class Exported:
    """What an export gave."""

    version: Version
    board: Leaderboard
    report: Path
    reused: int
    """Trainings that were taken over from an earlier run."""


@dataclass(frozen=True)
class Trained:
    """Data, its split, and every training of the recipe."""

    dataset: Dataset
    cleaning: Cleaning
    split: Split
    results: Mapping[Job, Made]
    finals: Mapping[str, Made]
    """The published members by name, in the recipe's order."""


def export(recipe: Recipe, options: Options, report: Report) -> Exported:
    """Train, fuse, convert, check and publish a recipe.

    Raises ExportError or RepositoryError; then nothing is published, and finished members stay in the work folder
    for `resume`.
    """
    started = time.perf_counter()
    work = WorkFolder(options.work or options.repository / f".export-{recipe.name}")
    trained, reused = _train(recipe, options, work, report)
    with blas_on_one_thread():
        made, board, ledger = _fused(recipe, options, trained, started, report)
    picture = as_png(board)  # before the publication: what can fail, fails before it
    report(_STEPS[3], 3, len(_STEPS))
    version = bundles.publish(made, Repository(options.repository))
    folder = options.report or Path("reports") / f"{version.name}-{version.version}"
    _write_report(folder, board, picture, ledger)
    if options.work is None:
        work.remove()
    report("published", len(_STEPS), len(_STEPS))
    return Exported(version, board, folder, reused)


def _fused(
    recipe: Recipe, options: Options, trained: Trained, started: float, report: Report
) -> tuple[Bundle, Leaderboard, Ledger]:
    """Everything after training up to the rehearsal. `started` is when the export began, by `time.perf_counter`."""
    panel = _panel(trained.finals)
    report(_STEPS[0], 0, len(_STEPS))
    test = trained.dataset.rows.take(trained.split.test)
    latencies = panel.latencies_ms(test.inputs)
    ledger = ledger_of(trained.results, tuple(trained.finals), trained.dataset)
    sizes = [len(made.onnx) for made in trained.finals.values()]  # not the latencies: ties must not hang on a clock
    objective = recipe.objective
    fusing = fit_fusion(ledger, recipe.rules, recipe.fusion.publish, sizes, recipe.seed, objective)
    report(_STEPS[1], 1, len(_STEPS))
    rows = evaluate(panel, fusing, test, recipe.members, latencies, ledger.target, objective)
    board = _board(recipe, options, trained, fusing, tuple(rows), time.perf_counter() - started)
    if board.missed and recipe.acceptance.enforce:
        raise AcceptanceError(f"{recipe.name} is not published", board.missed)
    made = _bundle(recipe, options, trained, panel, fusing, ledger, board)
    report(_STEPS[2], 2, len(_STEPS))
    with bundles.rehearsed(made) as ensemble:
        _compare_served(ensemble, panel, fusing, test.inputs, trained.dataset)
    return made, board, ledger


def _train(recipe: Recipe, options: Options, work: WorkFolder, report: Report) -> tuple[Trained, int]:
    dataset, cleaning = clean(recipe.data.load(options.data), recipe.data.on_bad_rows)
    if dataset.task != recipe.task:
        raise DataError(f"the data is for a {dataset.task}, the recipe's task is {recipe.task}")
    parts = split(dataset.rows, recipe.split, recipe.seed, dataset.classes)
    dataset = recipe.data.prepare(dataset, parts, recipe.seed)
    results, reused = train_members(
        recipe, dataset, parts, work,
        device=options.device, workers=options.workers, resume=options.resume, report=report,
    )  # fmt: skip
    finals = {job.member: made for job, made in results.items() if job.fold == FINAL}
    ordered = {name: finals[name] for name in recipe.members}
    return Trained(dataset, cleaning, parts, results, ordered), reused


def _panel(finals: Mapping[str, Made]) -> Panel:
    graphs = tuple(Graph(made.onnx) for made in finals.values())
    return Panel(tuple(finals), graphs, tuple(made.kind for made in finals.values()))


def _board(
    recipe: Recipe, options: Options, trained: Trained, fusing: Fusing, rows: tuple[Row, ...], seconds: float
) -> Leaderboard:
    members = {row.name: row.metrics for row in rows if row.kind == "member"}
    published = next(row.metrics for row in rows if row.kind == "rule" and row.name == fusing.chosen.name)
    return Leaderboard(
        ensemble=recipe.name,
        metric=recipe.objective.metric,
        rows=rows,
        published=fusing.chosen.name,
        reason=fusing.reason,
        best_single=min(members, key=lambda name: members[name].figure(recipe.objective.metric)),
        split={name: len(part) for name, part in trained.split.parts().items()},
        preset=options.preset,
        seed=recipe.seed,
        seconds=round(seconds, 1),
        weights=dict(zip(members, fusing.chosen.weights.round(6).tolist(), strict=True)),
        temperatures={
            **dict(zip(members, (round(value, 6) for value in fusing.temperatures), strict=True)),
            "fused": round(fusing.chosen.fusion.temperature, 6),
        },
        parity={name: made.parity.largest_difference for name, made in trained.finals.items()},
        missed=tuple(missed(recipe.acceptance, published, members, recipe.objective)),
    )


def _bundle(
    recipe: Recipe, options: Options, trained: Trained, panel: Panel, fusing: Fusing, ledger: Ledger, board: Leaderboard
) -> Bundle:
    rule = fusing.chosen
    entries = _entries(recipe, trained.finals, fusing)
    dataset = trained.dataset
    rows = dataset.rows.take(trained.split.golden).inputs
    feeds = {entry.name: rows[entry.name] for entry in dataset.inputs}
    manifest = bundles.draft(recipe.name, recipe.task, dataset.classes, dataset.inputs, entries, rule.fusion)
    validation = fusing.validation.rules.get(rule.name, fusing.validation.members[fusing.best_single])
    alpha = recipe.fusion.alpha if dataset.classes else None
    return Bundle(
        name=recipe.name,
        task=recipe.task,
        classes=dataset.classes,
        inputs=dataset.inputs,
        parts=tuple(Part(entry, trained.finals[entry.name].onnx) for entry in entries),
        fusion=rule.fusion,
        quorum=recipe.fusion.quorum,
        golden=bundles.golden_rows(manifest, panel.raw(rows), feeds, rule.stacker),
        stacker=None if rule.stacker is None else rule.stacker.data,
        conformal=None if alpha is None else conformal_quantile(validation, ledger.target, alpha),
        batching=recipe.batching,
        description=recipe.description,
        report=board.manifest_report(),
        provenance=provenance(recipe, options, dataset, trained.cleaning),
    )


def _entries(recipe: Recipe, finals: Mapping[str, Made], fusing: Fusing) -> list[Member]:
    return [
        Member(
            name=name,
            file=f"members/{name}.onnx",
            sha256=bundles.NO_DIGEST,
            bytes=0,
            output=made.kind,
            kind=made.kind,
            weight=float(weight),
            temperature=temperature,
            family=recipe.members[name].family,
        )
        for (name, made), weight, temperature in zip(
            finals.items(), fusing.chosen.weights, fusing.temperatures, strict=True
        )
    ]


def _compare_served(
    ensemble: LoadedEnsemble, panel: Panel, fusing: Fusing, rows: Mapping[str, np.ndarray], dataset: Dataset
) -> None:
    """Raise BundleError unless the loaded version answers all test rows as the leaderboard's figures were made.

    Values have no scale of their own: their tolerance grows with them.
    """
    expected = fusing.chosen(panel.calibrated(rows, fusing.temperatures))
    name = FUSED_OUTPUT[dataset.task]
    parts = batches({entry.name: rows[entry.name] for entry in dataset.inputs}, SERVED_ROWS)
    served = np.concatenate([ensemble.predict(part, [name]).outputs[name] for part in parts])
    difference = float(np.abs(served - expected.reshape(served.shape)).max())
    base = DERIVED_TOLERANCE if dataset.derived else SERVED_TOLERANCE
    tolerance = base * (1.0 if dataset.classes else max(1.0, float(np.abs(expected).max())))
    if not difference <= tolerance:
        raise BundleError(
            ensemble.manifest.name,
            [f"served answers differ from the fitted ones by {difference:.2g}, tolerance {tolerance:.2g}"],
        )


def _write_report(folder: Path, board: Leaderboard, picture: bytes, ledger: Ledger) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "leaderboard.txt").write_text(as_text(board), encoding="utf-8")
        (folder / "leaderboard.json").write_bytes(as_json(board))
        (folder / "leaderboard.png").write_bytes(picture)
        ledger.save(folder / "ledger.npz")
    except OSError as error:
        raise ExportError(f"{board.ensemble} is published, but the report {folder} is not written: {error}") from error
