"""The curve of one network's training: what was measured on the way, and how it ended. No torch."""

from __future__ import annotations

import msgspec


class Point(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was measured after some steps."""

    step: int
    """Steps taken by this worker since the beginning."""
    epoch: float
    """Epochs that they are, in parts: 1.5 is the middle of the second."""
    loss: float
    """Mean over the batches since the point before, as trained: distorted, with dropout."""
    accuracy: float | None = None
    """Of the same batches' rows; None where the network gives no logits of classes."""
    validation: dict[str, float] = {}
    """With `stop_at`: figures on the rows that no step sees, as they are, without dropout."""


class Curve(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One network's training."""

    points: tuple[Point, ...]
    epochs: int
    """That were to be trained at most."""
    rows: int
    """That the member was given."""
    held_out: int = 0
    """Of them, the rows that no step sees."""
    bounds: dict[str, float] = {}
    """`stop_at`; empty: nothing was to be reached."""
    reached: bool = False

    def summary(self) -> str:
        """How it ended, in a line; empty where nothing was to be reached."""
        if not self.bounds or not self.points:
            return ""
        last, wanted = self.points[-1], _told(self.bounds)
        found = _told({name: last.validation[name] for name in self.bounds})
        told = f"{found} on {self.held_out} of its {self.rows} rows, which no step saw"
        if self.reached:
            return f"stop_at {wanted} reached after {last.epoch:.2g} of {self.epochs} epochs, step {last.step}: {told}"
        name = next(iter(self.bounds))
        sign = 1 if name == "accuracy" else -1
        best = max(self.points, key=lambda point: sign * point.validation[name])
        more = "" if best is last else f"; best {name} {best.validation[name]:.4g} after {best.epoch:.2g}"
        return f"stop_at {wanted} not reached in {self.epochs} epochs: {told}{more}"


def _told(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
