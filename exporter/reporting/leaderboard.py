"""Every member and every rule on the same test rows, the best single member always beside the published rule."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from exporter.metrics import BINS, Metrics


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line: figures on the test split, and the log-loss on validation rows that nothing was fitted to."""

    name: str
    kind: Literal["member", "rule"]
    family: str = ""
    metrics: Metrics
    validation_log_loss: float


class Leaderboard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The report of one export."""

    ensemble: str
    rows: tuple[Row, ...]
    published: str
    """The name of the rule that is published."""
    reason: str
    """Why this one."""
    best_single: str
    """The member with the least log-loss on the test rows."""
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

    def members(self) -> tuple[Row, ...]:
        """The members' rows."""
        return tuple(row for row in self.rows if row.kind == "member")

    def rules(self) -> tuple[Row, ...]:
        """The rules' rows."""
        return tuple(row for row in self.rows if row.kind == "rule")

    def row(self, name: str) -> Row:
        """The row of a member or rule."""
        return next(row for row in self.rows if row.name == name)

    def manifest_report(self) -> dict[str, Any]:
        """The manifest's `report`, as DESIGN and docs/FORMAT.md lay it out."""
        fused, best = self.row(self.published), self.row(self.best_single)
        return {
            "rows": self.split["test"],
            "fused": {"rule": self.published, **_plain(fused)},
            "best_single": {"name": best.name, **_plain(best)},
            "members": {row.name: _plain(row) for row in self.members()},
            "rules": {row.name: _plain(row) for row in self.rules()},
        }


_COLUMNS = ("accuracy", "log-loss", "ece", "brier", "ms/row", "validation")


def as_text(board: Leaderboard) -> str:
    """The leaderboard as a plain table, best log-loss first within members and rules."""
    lines = [_title(board), "", _line("", "", _COLUMNS), _line("", "", ["-" * len(name) for name in _COLUMNS])]
    for heading, rows in (("members", board.members()), ("rules", board.rules())):
        lines.append(heading)
        lines += [_row_line(board, row) for row in sorted(rows, key=lambda row: row.metrics.log_loss)]
    split = ", ".join(f"{rows} {part}" for part, rows in board.split.items())
    lines += [
        "",
        f"* published: {board.reason}.   + best single member.",
        f"Rows: {split}. Seed {board.seed}, preset {board.preset}, {board.seconds:.0f} s.",
        "Figures on the test rows; `validation` is the log-loss on rows that neither members nor rules were fitted to.",
        f"Log-loss in nats; ece over {BINS} equal-width bins of the confidence; ms/row: median of one row alone on one",
        "thread, for a rule with all members one after the other.",
        f"Weights: {_pairs(board.weights)}.",
        f"Temperatures: {_pairs(board.temperatures)}.",
    ]
    lines += [f"MISSED: {sentence}" for sentence in board.missed]
    return "\n".join(lines) + "\n"


def as_json(board: Leaderboard) -> bytes:
    """The leaderboard for scripts."""
    return msgspec.json.format(msgspec.json.encode(board), indent=2) + b"\n"


def _title(board: Leaderboard) -> str:
    fused, best = board.row(board.published).metrics, board.row(board.best_single).metrics
    return (
        f"{board.ensemble}: {board.published} over {len(board.members())} members has log-loss {fused.log_loss:.4f} "
        f"and accuracy {fused.accuracy:.4f}; best single {board.best_single} {best.log_loss:.4f} and "
        f"{best.accuracy:.4f}"
    )


def _row_line(board: Leaderboard, row: Row) -> str:
    m = row.metrics
    mark = "*" if row.name == board.published else "+" if row.name == board.best_single else " "
    figures = [f"{m.accuracy:.4f}", f"{m.log_loss:.4f}", f"{m.ece:.4f}", f"{m.brier:.4f}",
               "" if m.latency_ms is None else f"{m.latency_ms:.3f}", f"{row.validation_log_loss:.4f}"]  # fmt: skip
    return _line(f"{mark} {row.name}", row.family, figures)


def _line(name: str, family: str, figures: tuple[str, ...] | list[str]) -> str:
    return f"{name:<16}{family:<11}" + "".join(f"{figure:>11}" for figure in figures)


def _pairs(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items()) or "none"


def _plain(row: Row) -> dict[str, float]:
    found: dict[str, float] = msgspec.to_builtins(row.metrics)
    return {name: round(value, 6) for name, value in found.items()}
