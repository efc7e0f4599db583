"""Every member and every rule on the same test rows, the best single member always beside the published rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from exporter.detectors.rows import DetectorRow
from exporter.fusing.pareto import Candidate, summary
from exporter.fusing.quantising import Decision
from exporter.reporting.beginnings import Beginning
from exporter.reporting.diversity import Diversity
from exporter.reporting.joint import Jointly
from exporter.reporting.label_rows import LabelRow
from exporter.reporting.mixtures import Mixture
from exporter.scoring.metrics import BINS, Metrics
from exporter.scoring.objective import MetricName, columns_of, wording
from exporter.training.records import TrainingRecords
from model_repo.wording import count


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line: figures on the test split, and the metric on validation rows that nothing was fitted to."""

    name: str
    kind: Literal["member", "rule"]
    family: str = ""
    metrics: Metrics
    validation_loss: float


class Leaderboard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The report of one export."""

    ensemble: str
    metric: MetricName
    """What the ensemble was fitted for; less is better."""
    rows: tuple[Row, ...]
    published: str
    """The name of the rule that is published, over the members that are."""
    reason: str
    """Why this one."""
    left_out: tuple[str, ...] = ()
    """Members that are not published: the others alone are as good."""
    enough: str = ""
    """Why these may be left out."""
    best_single: str
    """The member with the least metric on the test rows."""
    split: dict[str, int]
    """Rows of each part."""
    preset: str
    seed: int
    seconds: float = 0.0
    weights: dict[str, float] = {}
    temperatures: dict[str, float] = {}
    parity: dict[str, float] = {}
    """Member → largest difference of a raw output between the trained member and its ONNX graph."""
    missed: tuple[str, ...] = ()
    """What the recipe's acceptance asked for and the test rows did not give."""
    detectors: tuple[DetectorRow, ...] = ()
    """How well each, and all together, tell usual rows from others."""
    quantised: dict[str, Decision] = {}
    """Members that were to be tried in 8 bits."""
    diversity: Diversity | None = None
    joint: Jointly | None = None
    """Members that were trained together."""
    pareto: tuple[Candidate, ...] = ()
    """Members, alone and together, by latency."""
    labels: tuple[LabelRow, ...] = ()
    """Of labels that do not exclude each other: each with its threshold and figures."""
    mixtures: tuple[Mixture, ...] = ()
    """Members whose parameters are a mean of others'."""
    beginnings: tuple[Beginning, ...] = ()
    """Members that began with parameters of others."""
    training: TrainingRecords | None = None
    """What each training took, and on whom."""

    def members(self) -> tuple[Row, ...]:
        """The members' rows."""
        return tuple(row for row in self.rows if row.kind == "member")

    def rules(self) -> tuple[Row, ...]:
        """The rules' rows."""
        return tuple(row for row in self.rows if row.kind == "rule")

    @property
    def kept(self) -> tuple[Row, ...]:
        """The rows of the members that are published."""
        return tuple(row for row in self.members() if row.name not in self.left_out)

    @property
    def saved(self) -> float:
        """The share of all members' time for one row that is saved by those left out."""
        everyone, kept = (sum(row.metrics.latency_ms or 0.0 for row in rows) for rows in (self.members(), self.kept))
        return 1 - kept / everyone if everyone else 0.0

    @property
    def shown(self) -> tuple[str, ...]:
        """The figures that tables show, in order."""
        return tuple(
            columns_of(
                self.metric,
                any(row.metrics.ndcg_at_10 is not None for row in self.rows),
                any(row.metrics.micro_f1 is not None for row in self.rows),
            )
        )

    def loss(self, row: Row) -> float:
        """The row's metric on the test rows."""
        return row.metrics.figure(self.metric)

    def row(self, name: str) -> Row:
        """The row of a member or rule."""
        return next(row for row in self.rows if row.name == name)

    def manifest_report(self) -> dict[str, Any]:
        """The manifest's `report`, as DESIGN and docs/FORMAT.md lay it out."""
        fused, best = self.row(self.published), self.row(self.best_single)
        more: dict[str, Any] = {} if self.diversity is None else {"diversity": self.diversity.summary()}
        if self.joint is not None:
            more["joint"] = self.joint.summary()
        if self.left_out:
            more["left_out"] = list(self.left_out)
        return {
            **more,
            "pareto": summary(self.pareto),
            "rows": self.split["test"],
            "fused": {"rule": self.published, **_plain(fused)},
            "best_single": {"name": best.name, **_plain(best)},
            "members": {row.name: _plain(row) for row in self.members()},
            "rules": {row.name: _plain(row) for row in self.rules()},
            **({"detectors": {row.name: msgspec.to_builtins(row) for row in self.detectors}} if self.detectors else {}),
            **({"labels": {row.name: msgspec.to_builtins(row) for row in self.labels}} if self.labels else {}),
        }


_NOTES = {
    "log_loss": f"Log-loss in nats; ece over {BINS} equal-width bins of the confidence",
    "rmse": "Figures in units of the target",
    "mae": "Figures in units of the target",
}


def _note(board: Leaderboard) -> str:
    if board.labels:
        return "Log-loss in nats, the mean over labels; F1 of members and rules from 0.5 on, of labels from their own"
    return _NOTES[board.metric]


def as_text(board: Leaderboard) -> str:
    """The leaderboard as a plain table, the best first within members and rules."""
    columns = [*map(wording, board.shown), "ms/row", "validation"]
    lines = [_title(board), "", _line("", "", columns), _line("", "", ["-" * len(name) for name in columns])]
    for heading, rows in (("members", board.members()), ("rules", board.rules())):
        lines.append(heading)
        lines += [_row_line(board, row) for row in sorted(rows, key=board.loss)]
    lines += _label_lines(board)
    lines += _detector_lines(board)
    split = ", ".join(f"{rows} {part}" for part, rows in board.split.items())
    lines += [
        "",
        f"* published: {board.reason}.   + best single member.",
        f"Rows: {split}. Seed {board.seed}, preset {board.preset}, {board.seconds:.0f} s.",
        f"Figures on the test rows; `validation` is the {wording(board.metric)} on rows that neither members nor rules",
        f"were fitted to. {_note(board)}; ms/row: median of one row alone on one",
        "thread, for a rule with all its members one after the other.",
        *_left_out_lines(board),
        f"Weights: {_pairs(board.weights)}.",
    ]
    if board.metric == "log_loss":
        lines.append(f"Temperatures: {_pairs(board.temperatures)}.")
    lines += [
        f"int8: {name} {'accepted' if found.accepted else 'refused'}, it {found.reason}."
        for name, found in board.quantised.items()
    ]
    if board.training is not None:
        lines += [board.training.line(), *board.training.endings()]
    lines += [f"{sentence}." for beginning in board.beginnings for sentence in beginning.sentences()]
    lines += [f"{sentence}." for mixture in board.mixtures for sentence in mixture.sentences()]
    if board.joint is not None:
        lines.append(board.joint.sentence())
    lines += _pareto_lines(board)
    if board.diversity is not None:
        lines += _diversity_lines(board, board.diversity)
    lines += [f"MISSED: {sentence}" for sentence in board.missed]
    return "\n".join(lines) + "\n"


def _label_lines(board: Leaderboard) -> Iterator[str]:
    """A table of the labels, as the published rule answers them."""
    if not board.labels:
        return
    yield ""
    yield _line("labels", "", ["holds", "threshold", "F1", "log-loss", "best single"])
    for row in board.labels:
        figures = (row.holds, row.threshold, row.f1, row.log_loss, row.best_single_log_loss)
        yield _line(f"  {row.name}", "", [f"{figure:.4f}" for figure in figures])


def _left_out_lines(board: Leaderboard) -> Iterator[str]:
    """What is not published, and what that saves."""
    if board.left_out:
        names = ", ".join(board.left_out)
        yield f"- left out: {names}. {board.enough[:1].upper()}{board.enough[1:]}."
        yield (
            f"{board.saved:.0%} of the members' time for a row is saved; the published rule's line is over those kept, "
            f'other rules over all. fusion.keep = "all" publishes every member.'
        )


def _detector_lines(board: Leaderboard) -> Iterator[str]:
    """A table of its own, as detectors have no loss: AUROC of test rows against two kinds of made-up ones."""
    if not board.detectors:
        return
    yield ""
    yield _line("detectors", "", ["permuted", "random", "flagged"])
    for row in board.detectors:
        flagged = "" if row.flagged is None else f"{row.flagged:.4f}"
        yield _line(f"  {row.name}", row.family, [f"{row.auroc_permuted:.4f}", f"{row.auroc_random:.4f}", flagged])


def _pareto_lines(board: Leaderboard) -> Iterator[str]:
    """Those that no other beats: what there is to choose from when latency counts."""
    if not board.pareto:
        return
    yield f"\nPareto list ({wording(board.metric)}; no other is as fast and as good on validation):"
    yield f"{'ms/row':>10}{'validation':>12}{'test':>10}"
    for each in board.pareto:
        if each.efficient:
            yield f"{each.latency_ms:>10.3f}{each.validation:>12.4f}{each.test:>10.4f}  {each.label}"


def _diversity_lines(board: Leaderboard, found: Diversity) -> Iterator[str]:
    what = "accuracy" if found.disagreement is not None else wording(found.metric)
    yield (
        f"\nDiversity on {found.rows} validation rows: {what} {found.fused:.4f} fused, {found.best_single:.4f} best "
        f"single, {found.oracle:.4f} with the best member of each row (gap {found.oracle_gap:.4f})."
    )
    if found.closest is not None:
        first, second, correlation = found.closest
        yield f"Most alike: {first} and {second}, whose errors correlate by {correlation:.2f}."
    for sentence in found.sentences():
        yield f"{sentence[:1].upper()}{sentence[1:]}."


def as_json(board: Leaderboard) -> bytes:
    """The leaderboard for scripts."""
    return msgspec.json.format(msgspec.json.encode(board), indent=2) + b"\n"


def _title(board: Leaderboard) -> str:
    fused, best = board.row(board.published), board.row(board.best_single)
    return (
        f"{board.ensemble}: {board.published} over {count(len(board.kept), 'member')} has {_headline(board, fused)}; "
        f"best single {board.best_single} {_headline(board, best)}"
    )


def _headline(board: Leaderboard, row: Row) -> str:
    """The metric and what people ask for next."""
    plain = "macro_f1" if "macro_f1" in board.shown else "accuracy"
    second = plain if board.metric == "log_loss" else "ndcg_at_10" if "ndcg_at_10" in board.shown else None
    told = f"{wording(board.metric)} {board.loss(row):.4f}"
    return told if second is None else f"{told} and {wording(second)} {row.metrics.figure(second):.4f}"


def _row_line(board: Leaderboard, row: Row) -> str:
    m = row.metrics
    mark = "*" if row.name == board.published else "+" if row.name == board.best_single else " "
    mark = "-" if mark == " " and row.name in board.left_out else mark
    figures = [f"{m.figure(name):.4f}" for name in board.shown]
    figures += ["" if m.latency_ms is None else f"{m.latency_ms:.3f}", f"{row.validation_loss:.4f}"]
    return _line(f"{mark} {row.name}", row.family, figures)


def _line(name: str, family: str, figures: Sequence[str]) -> str:
    return f"{name:<18}{family:<14}" + "".join(f"{figure:>11}" for figure in figures)


def _pairs(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items()) or "none"


def _plain(row: Row) -> dict[str, float]:
    found: dict[str, float] = msgspec.to_builtins(row.metrics)
    return {name: round(value, 6) for name, value in found.items()}
