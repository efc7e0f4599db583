"""Bring your own training: models of torch, scikit-learn, LightGBM and ONNX files to one published ensemble."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

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
from exporter.bundle import Bundle, LedgerFiles
from exporter.data.cleaning import clean
from exporter.data.dataset import Dataset, Rows
from exporter.errors import AcceptanceError, BundleError, DataError
from exporter.foreign.objects.classes import in_order, label_name
from exporter.foreign.objects.gate import pass_gate
from exporter.foreign.objects.member import Brought, Said, Wiring
from exporter.foreign.objects.rows import dataset_of, held_out, rows_of
from exporter.fusing.ledger import Ledger
from exporter.fusing.ledger_file import LedgerTest, inputs_npz
from exporter.fusing.selection import CROSS_FITS
from exporter.gate.parity import Parity
from exporter.recipe.recipe import Acceptance, FusionSpec, Head
from exporter.recipe.rule_names import RuleName
from exporter.reporting.leaderboard import Leaderboard, as_text
from exporter.reporting.report import report_files, write_report
from exporter.scoring.objective import MetricName
from exporter.threads import blas_on_one_thread
from exporter.training.jobs import libraries
from model_repo import Batching, Input, Repository, Version
from model_repo.format.manifest import Kind

SERVED_TOLERANCE = 1e-6
"""Of the served answers to the test rows: float32 beside float64."""


Inputs = Any
"""One array [n, …], or one for each input by its name: a dict, a DataFrame, a structured array."""


@dataclass(frozen=True)
class _Added:
    """A model as the user gave it."""

    model: object
    said: Said
    takes: tuple[str, ...]


@dataclass(frozen=True)
class _Fitted:
    """What `fit_fusion` made, ready to be published."""

    members: tuple[Brought, ...]
    test: Dataset
    fused: Fused
    bundle: Bundle
    board: Leaderboard


class Exporter:
    """Members that are trained already, one fusion, one published version, through the gates of `tutti export`.

    `classes` are the ensemble's, in the order of its answers; without them it is a regression. With the task
    "multilabel" they do not exclude each other: `y` is 0 or 1 for each, and thresholds are fitted. Models whose columns
    have no names (torch modules, ONNX files that state none) are taken to be in this order. Of the members the fewest
    that are as good as all are published, unless `keep` is "all". With `missing` "nan" a NaN among the numbers is a
    missing value, which every member has to take.
    """

    def __init__(
        self,
        name: str,
        *,
        classes: Sequence[str] = (),
        task: Literal["classification", "multilabel", "regression"] | None = None,
        inputs: Sequence[Input] | None = None,
        rules: Sequence[RuleName] | None = None,
        publish: RuleName | Literal["auto"] = "auto",
        metric: MetricName | None = None,
        quorum: int = 1,
        keep: Literal["useful", "all"] = "useful",
        alpha: float | None = 0.1,
        seed: int = 0,
        batching: Batching | None = None,
        description: str = "",
        ledger: Literal["rows", "answers", "none"] = "rows",
        missing: Literal["nan", "refuse"] = "refuse",
    ) -> None:
        task = task or ("classification" if classes else "regression")
        if bool(classes) == (task == "regression"):
            told = f"{len(classes)} classes" if classes else "no classes"
            raise BundleError(name, [f"a {task} with {told}: classes= names them, a regression has none"])
        fusion = FusionSpec(
            rules=None if rules is None else tuple(rules), publish=publish, metric=metric, quorum=quorum, keep=keep,
            alpha=alpha, ledger=ledger,
        )  # fmt: skip
        self._head = Head(
            name=name, task=task, description=description, seed=seed, fusion=fusion, acceptance=Acceptance(),
            batching=batching or Batching(),
        )  # fmt: skip
        self._classes = tuple(label_name(each) for each in classes)
        self._missing = missing
        self._inputs = None if inputs is None else tuple(inputs)
        self._added: dict[str, _Added] = {}
        self._fitted: _Fitted | None = None

    def add(
        self,
        name: str,
        model: object,
        *,
        kind: Kind | None = None,
        classes: Sequence[object] | None = None,
        takes: Sequence[str] = (),
        inputs: Mapping[str, str] | None = None,
        output: str | None = None,
        family: str | None = None,
    ) -> Self:
        """A member: the path of an ONNX file, a torch module, or a fitted estimator, pipeline or booster.

        `kind` is what it gives (torch modules must say it), `classes` its own order where it does not state one,
        `takes` the inputs that it is given, in its order (by default all of them; an estimator takes one).
        `inputs` says it of an ONNX file by name: input of its graph → the ensemble's. Numbers of another type are cast.
        """
        if name in self._added:
            raise BundleError(f"member {name!r}", ["is added twice"])
        own = None if classes is None else in_order(classes, self._classes, name)
        said = Said(kind=kind, classes=own, output=output, inputs=dict(inputs or {}), family=family, ordered=True)
        self._added[name] = _Added(model, said, tuple(takes))
        self._fitted = None
        return self

    def fit_fusion(
        self,
        X: Inputs,
        y: ArrayLike,
        *,
        test: float | tuple[Inputs, ArrayLike] = 0.3,
        golden: int = 20,
    ) -> Self:
        """Convert and check every member, fit the fusion to rows that no member was trained on, measure it on others.

        `X` is one array [n, …] or a dict of them, `y` the class of each row (name or number) or its
        value: a number, or several, [n, d], whose members share one weight. `test` is
        the share that is held out for the report, or rows of its own. Raises ExportError.
        """
        if not self._added:
            raise BundleError(self._head.name, ["has no member: add() one first"])
        started = time.perf_counter()
        dataset, fusion, tested = self._rows(X, y, test)
        wiring = Wiring(self._classes, dataset.inputs, self._head.task == "multilabel", dataset.value_shape)
        passed = [pass_gate(name, each.model, each.said, each.takes, wiring, dataset, fusion)
                  for name, each in self._added.items()]  # fmt: skip
        members = tuple(member for member, _ in passed)
        parity = {member.name: found for member, found in passed}
        with blas_on_one_thread():
            entrants = _entrants(members, fusion, tested)
            fused = fuse_members(self._head, entrants)
        split = {"fusion": len(fusion), "test": len(tested), "golden": min(golden, len(tested))}
        board = board_of(
            self._head, self._classes, fused, tested.target, split, preset="api",
            seconds=round(time.perf_counter() - started, 1),
            parity={name: found.largest_difference for name, found in parity.items()},
        )  # fmt: skip
        feeds = {name: array[:golden] for name, array in tested.inputs.items()}
        files = LedgerFiles(
            answers_kept(fused, entrants.ledger, entrants.test), inputs_npz(fusion.inputs, tested.inputs)
        )
        bundle = bundle_of(
            self._head, self._classes, dataset.inputs, [member.part for member in members], fused, entrants,
            ([member.raw(feeds) for member in members], feeds),
            value_shape=dataset.value_shape,
            ledger=kept(self._head, files.answers, files.inputs),
            report=board.manifest_report(),
            provenance=self._provenance(dataset, parity),
        )  # fmt: skip
        self._fitted = _Fitted(members, replace(dataset, rows=tested), fused, bundle, board)
        return self

    def publish(
        self,
        repository: str | Path,
        *,
        version: int | None = None,
        report: str | Path | None = None,
        accept_worse: bool = False,
    ) -> Version:
        """Rehearse in private as a server loads it, then publish as `version` or the next one.

        With `report` the leaderboard and its pictures are written to that folder. Raises AcceptanceError where the
        fusion is worse on the test rows than its best member (unless `accept_worse`), BundleError, RepositoryError.
        """
        fitted = self._done()
        if fitted.board.missed and not accept_worse:
            raise AcceptanceError(f"{self._head.name} is not published", fitted.board.missed)
        rows = fitted.test.rows
        files = report_files(
            fitted.board, self._classes, fitted.fused.answer, fitted.fused.best_answer, rows.target
        ) if report is not None else {}  # fmt: skip
        with bundles.rehearsed(fitted.bundle) as ensemble:
            compare_served(ensemble, fitted.fused.answer, rows.inputs, SERVED_TOLERANCE)
        published = bundles.publish(fitted.bundle, Repository(repository), version)
        if report is not None:
            write_report(Path(report), files, self._head.name)
        return published

    @property
    def leaderboard(self) -> Leaderboard:
        """Every member and rule on the test rows, diversity, Pareto list. Raises BundleError before `fit_fusion`."""
        return self._done().board

    def summary(self) -> str:
        """The leaderboard as text."""
        return as_text(self.leaderboard)

    def _done(self) -> _Fitted:
        if self._fitted is None:
            raise BundleError(self._head.name, ["has no fusion yet: call fit_fusion(X, y) first"])
        return self._fitted

    def _rows(self, X: Inputs, y: ArrayLike, test: float | tuple[Inputs, ArrayLike]) -> tuple[Dataset, Rows, Rows]:
        """All rows, those for the fusion, those for the test. Raises DataError."""
        known, target = rows_of(X), np.asarray(y)
        known_rows = len(target)
        if isinstance(test, tuple):
            given = rows_of(test[0])
            if given.keys() != known.keys():
                raise DataError(f"the test rows have inputs {', '.join(given)}, the others {', '.join(known)}")
            known = {name: np.concatenate([array, given[name]]) for name, array in known.items()}
            target = np.concatenate([target, np.asarray(test[1])])
        made = dataset_of(known, target, self._classes, self._inputs, self._missing, self._head.task)
        dataset, _ = clean(made, "error")
        if isinstance(test, tuple):
            parts = np.arange(known_rows), np.arange(known_rows, len(target))
        else:
            parts = held_out(dataset, test, self._head.seed)
        fusion, tested = (dataset.rows.take(index.astype(np.int64)) for index in parts)
        if len(fusion) < CROSS_FITS or not len(tested):
            told = f"{len(fusion)} rows to fit the fusion and {len(tested)} to test it"
            raise DataError(
                f"there are {told}, at least {CROSS_FITS} and 1 are needed: bring more rows, or another test="
            )
        return dataset, fusion, tested

    def _provenance(self, dataset: Dataset, parity: Mapping[str, Parity]) -> dict[str, Any]:
        found: dict[str, Any] = {
            "made_by": "exporter.Exporter",
            "seed": self._head.seed,
            "keep": self._head.fusion.keep,
            "members": {name: _described(each.model) for name, each in self._added.items()},
            "parity": {name: each.largest_difference for name, each in parity.items()},
            "data": {"sha256": dataset.digest, "rows": len(dataset.rows)},
            "libraries": libraries(),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        if (revision := commit()) is not None:
            found["commit"] = revision
        return found


def _entrants(members: Sequence[Brought], fusion: Rows, tested: Rows) -> Entrants:
    ledger = Ledger(
        members=tuple(member.name for member in members),
        kinds=tuple(member.part.entry.kind for member in members),
        rows=fusion.ids,
        target=fusion.target,
        fold=np.full(len(fusion), -1, dtype=np.int64),
        outputs=tuple(member(fusion.inputs) for member in members),
    )
    return Entrants(
        ledger=ledger,
        test=LedgerTest(tested.ids, tested.target, tested.group, tuple(member(tested.inputs) for member in members)),
        families={member.name: member.part.entry.family or "" for member in members},
        costs=[len(member.part.data) for member in members],
        latencies_ms=[member.latency_ms(tested.inputs) for member in members],
    )


def _described(model: object) -> str:
    return "onnx" if isinstance(model, str | Path) else f"{type(model).__module__}.{type(model).__qualname__}"
