"""One export from data to a published version. Until the last step nothing is visible in the repository."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from exporter import bundle as bundles
from exporter.aggregating.in_recipe import mix_members
from exporter.assembling.beginnings import beginnings_of
from exporter.assembling.detector_panel import DetectorPanel
from exporter.assembling.evaluation import Panel
from exporter.assembling.extras import extra_answers, extra_parts, with_figures
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
from exporter.assembling.joint import jointly
from exporter.assembling.parameters import in_report, in_version
from exporter.assembling.provenance import provenance
from exporter.bundle import Bundle, LedgerFiles, Part
from exporter.data.dataset import Array
from exporter.errors import AcceptanceError, DataError
from exporter.fusing.ledger import ledger_of
from exporter.fusing.ledger_file import LedgerTest, inputs_npz
from exporter.fusing.quantising import Decision, quantised
from exporter.gate.inference import Graph
from exporter.optimisation.spec import Hardware
from exporter.recipe.options import Options
from exporter.recipe.recipe import Recipe
from exporter.recipe.sources import Cleaning, Dataset, Split, clean, split
from exporter.reporting.beginnings import Beginning
from exporter.reporting.curves import curve_files
from exporter.reporting.leaderboard import Leaderboard
from exporter.reporting.mixtures import Mixture
from exporter.reporting.report import report_files, write_report
from exporter.threads import blas_on_one_thread
from exporter.training.choice import engine_of
from exporter.training.engines.engine import Engine, Given
from exporter.training.engines.environment import Place, begun_anew
from exporter.training.engines.hardware import can_compile
from exporter.training.finished_jobs import WorkFolder
from exporter.training.jobs import FINAL, Job, Made
from exporter.training.records import TrainingRecords
from exporter.training.run import Report, Watch, train_members
from model_repo import Member, Repository, Version

SERVED_TOLERANCE = 1e-6
"""Served answers are float32, the offline ones float64: half a unit of the last place at 1 is 6e-8."""
DERIVED_TOLERANCE = 1e-5
"""Where the server makes tensors of its own, such as token ids: it pads them to the longest of a batch, the
exporter to the longest of all, and a network then adds up in another order."""

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
    detectors: DetectorPanel
    quantised: Mapping[str, Decision]
    """What was decided on members that were to be tried in 8 bits."""
    records: TrainingRecords
    mixtures: tuple[Mixture, ...] = ()
    """How the members were made that are means of others."""
    beginnings: tuple[Beginning, ...] = ()
    """What members began with, where they did not begin by themselves."""
    bases: Mapping[str, Made] = field(default_factory=dict)
    """Members that are trained and not published: others begin with them."""

    @property
    def parameters(self) -> dict[str, bytes]:
        """Member → what it was trained to; empty for those that no gradient trains."""
        return {name: made.parameters for name, made in {**self.finals, **self.bases}.items()}

    @property
    def batch_effect(self) -> float:
        """How far an answer may move with the rows beside it: 0 without members in 8 bits."""
        return max((found.batch_difference for found in self.quantised.values() if found.accepted), default=0.0)


def _nobody(event: object) -> None:
    """Is told nothing."""


def export(recipe: Recipe, options: Options, report: Report, watch: Watch = _nobody) -> Exported:
    """Train, fuse, convert, check and publish a recipe. `watch` is told what happens in each training.

    Raises ExportError or RepositoryError; then nothing is published, and finished members stay in the work folder
    for `resume`.
    """
    started = time.perf_counter()
    Repository(options.repository).check_writable()  # training must not end at a folder that cannot be written
    work = WorkFolder(options.work or options.repository / f".export-{recipe.name}")
    trained, reused = _train(recipe, options, work, report, watch)
    with blas_on_one_thread():
        made, board, files = _fused(recipe, options, trained, started, report)
    report(_STEPS[3], 3, len(_STEPS))
    version = bundles.publish(made, Repository(options.repository))
    folder = options.report or Path("reports") / f"{version.name}-{version.version}"
    write_report(folder, files, recipe.name)
    if options.work is None:
        work.remove()
    report("published", len(_STEPS), len(_STEPS))
    return Exported(version, board, folder, reused)


def _fused(
    recipe: Recipe, options: Options, trained: Trained, started: float, report: Report
) -> tuple[Bundle, Leaderboard, dict[str, bytes]]:
    """Everything after training up to the rehearsal: what is published, its leaderboard, and the report's files.

    `started` is when the export began, by `time.perf_counter`.
    """
    panel = _panel(trained.finals)
    report(_STEPS[0], 0, len(_STEPS))
    test = trained.dataset.rows.take(trained.split.test)
    entrants = Entrants(
        ledger=ledger_of(trained.results, tuple(trained.finals), trained.dataset),
        test=LedgerTest(test.ids, test.target, test.group, tuple(panel.raw(test.inputs))),
        families={name: spec.family for name, spec in recipe.voters.items()},
        costs=[len(made.onnx) / panel.sharing[place] for place, made in enumerate(trained.finals.values())],
        latencies_ms=panel.latencies_ms(test.inputs),
    )
    fused = with_figures(fuse_members(recipe, entrants), trained.finals)
    report(_STEPS[1], 1, len(_STEPS))
    board = board_of(
        recipe,
        trained.dataset.classes,
        fused,
        test.target,
        {name: len(part) for name, part in trained.split.parts().items()},
        preset=options.preset,
        seconds=round(time.perf_counter() - started, 1),
        parity={name: made.parity.largest_difference for name, made in trained.finals.items()},
        detectors=trained.detectors.rows(test.inputs, recipe.seed) if recipe.detectors else (),
        quantised=dict(trained.quantised),
        training=trained.records,
        mixtures=trained.mixtures,
        beginnings=trained.beginnings,
        joint=jointly(recipe.training, trained.finals, fused.compared.diversity),
    )
    if board.missed and recipe.acceptance.enforce:
        raise AcceptanceError(f"{recipe.name} is not published", board.missed)
    ledger = LedgerFiles(
        answers_kept(fused, entrants.ledger, entrants.test),
        inputs_npz(_sent(trained, trained.split.fusion), _sent(trained, trained.split.test)),
    )
    made = _bundle(recipe, options, trained, panel, fused, entrants, ledger, board)
    files = report_files(board, trained.dataset.classes, fused.answer, fused.best_answer, test.target)
    files |= curve_files(recipe.name, trained.results)
    report(_STEPS[2], 2, len(_STEPS))
    with bundles.rehearsed(made) as ensemble:
        tolerance = DERIVED_TOLERANCE if trained.dataset.derived else SERVED_TOLERANCE
        compare_served(ensemble, fused.answer, test.inputs, tolerance, made.golden_beyond)
    kept_there = {part.entry.name: part.parameters for part in made.parts if part.parameters}
    parameters = in_report(recipe.keep_parameters, trained.parameters, kept_there)
    return made, board, {**files, **parameters, bundles.LEDGER_FILE: ledger.answers}


def _sent(trained: Trained, part: Array) -> dict[str, Array]:
    """What clients would send of some rows."""
    rows = trained.dataset.rows.take(part).inputs
    return {entry.name: rows[entry.name] for entry in trained.dataset.inputs}


def _train(recipe: Recipe, options: Options, work: WorkFolder, report: Report, watch: Watch) -> tuple[Trained, int]:
    with closing(engine_of(options, recipe.training)) as engine:
        return _trained_by(engine, recipe, options, work, report, watch)


def _trained_by(
    engine: Engine, recipe: Recipe, options: Options, work: WorkFolder, report: Report, watch: Watch
) -> tuple[Trained, int]:
    dataset, cleaning, parts = _rows(recipe, options)
    mixtures: list[Mixture] = []

    def aggregates(trained: Mapping[Job, Made]) -> Sequence[Job]:
        mixed = mix_members(recipe, trained, dataset, parts)
        mixtures.extend(mixed.mixtures)
        return mixed.jobs

    compiled = options.compile and can_compile(options.device)
    hardware = Hardware(device=options.device, precision=options.precision, compiled=compiled)
    made = train_members(
        recipe, dataset, parts, work,
        engine=engine, hardware=hardware, repository=options.repository,
        resume=options.resume or begun_anew(), report=report, watch=watch, further=aggregates,
    )  # fmt: skip
    with blas_on_one_thread():
        results, decisions = quantised(made.results, recipe.voters, dataset, recipe.objective)
    finals = {job.member: made for job, made in results.items() if job.fold == FINAL}
    ordered = {name: finals[name] for name in recipe.voters}
    families = {name: spec.family for name, spec in recipe.detectors.items()}
    detectors = DetectorPanel.of(families, {name: finals[name] for name in families}, recipe.ood_alpha)
    beginnings = beginnings_of(results, recipe.split.folds)
    trainings = len(made.records.trainings)
    for beginning in beginnings:
        report("; ".join(beginning.sentences()), trainings, trainings)
    trained = Trained(
        dataset, cleaning, parts, results, ordered, detectors, decisions, made.records,
        bases={name: finals[name] for name, spec in recipe.members.items() if not spec.publish and name in finals},
        mixtures=tuple(mixtures), beginnings=beginnings,
    )  # fmt: skip
    return trained, made.reused


def _rows(recipe: Recipe, options: Options) -> tuple[Dataset, Cleaning, Split]:
    dataset, cleaning = clean(recipe.data.load(options.data), recipe.data.on_bad_rows)
    if dataset.task != recipe.task:
        raise DataError(f"the data is for a {dataset.task}, the recipe's task is {recipe.task}")
    parts = split(dataset.rows, recipe.split, recipe.seed, dataset.classes)
    return recipe.data.prepare(dataset, parts, recipe.seed), cleaning, parts


def serve(recipe: Recipe, options: Options, own: Place) -> None:
    """Train what the first rank of the torchrun that runs this command hands over. Raises ExportError."""
    engine_of(options, recipe.training)  # refuses what the first rank refuses
    assert options.work is not None, "refused above"
    from exporter.training.engines.joined import serve as serve_rank

    dataset, _, parts = _rows(recipe, options)
    serve_rank(own, Given(dataset, parts, options.work, options.device))


def _panel(finals: Mapping[str, Made]) -> Panel:
    graphs = tuple(Graph(made.onnx, made.output) for made in finals.values())
    contents = [made.onnx for made in finals.values()]
    sharing = tuple(contents.count(content) for content in contents)
    return Panel(tuple(finals), graphs, tuple(made.kind for made in finals.values()), sharing)


def _bundle(
    recipe: Recipe,
    options: Options,
    trained: Trained,
    panel: Panel,
    fused: Fused,
    entrants: Entrants,
    ledger: LedgerFiles,
    board: Leaderboard,
) -> Bundle:
    dataset, detectors = trained.dataset, trained.detectors
    rows = dataset.rows.take(trained.split.golden).inputs
    chosen = [list(trained.finals)[place] for place in fused.chosen.members]
    parameters = in_version(recipe.keep_parameters, trained.parameters, chosen)
    parts = [
        Part(_entry(name, made, recipe.voters[name].family), made.onnx, parameters=parameters.get(name, b""))
        for name, made in trained.finals.items()
    ]
    return bundle_of(
        recipe,
        dataset.classes,
        dataset.inputs,
        parts,
        fused,
        entrants,
        (panel.raw(rows), _sent(trained, trained.split.golden)),
        ledger=kept(recipe, ledger.answers, ledger.inputs),
        tokenizers=dataset.tokenizers,
        side=(*detectors.parts(), *extra_parts(trained.finals)),
        ood_threshold=detectors.threshold,
        beside={
            **({"ood_score": detectors.score(rows)} if recipe.detectors else {}),
            **extra_answers(trained.finals, rows),
        },
        golden_beyond=2 * trained.batch_effect,
        report=board.manifest_report(),
        provenance=provenance(recipe, options, dataset, trained.cleaning, trained.records),
    )


def _entry(name: str, made: Made, family: str) -> Member:
    return Member(
        name=name, file=f"members/{name}.onnx", sha256=bundles.NO_DIGEST, bytes=0, output=made.output_name,
        kind=made.kind, family=family,
    )  # fmt: skip
