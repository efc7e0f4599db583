"""What the trainings of an export took, for its report."""

from __future__ import annotations

import msgspec


class TrainingRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One training: a member on all fit rows, or without one fold of them."""

    member: str
    fold: int | None = None
    """From 0; None: the member that is published."""
    seconds: float
    processor_seconds: float
    """Of its worker, of a gang of the first."""
    worker: str
    exchanged_bytes: int = 0
    """Told and heard by that worker while it trained together with others."""
    synchronisations: int = 0
    """How often it did."""
    taken_over: bool = False
    """From an earlier, interrupted export."""
    ended: tuple[str, ...] = ()
    """Of each of its networks that was to reach a figure, how its training ended."""


class TrainingRecords(msgspec.Struct, frozen=True, kw_only=True):
    """All trainings of an export."""

    engine: str
    technique: str
    workers: int
    seconds: float
    """From the first task to the last result."""
    trainings: tuple[TrainingRecord, ...]

    @property
    def new(self) -> tuple[TrainingRecord, ...]:
        """Those that were not taken over."""
        return tuple(one for one in self.trainings if not one.taken_over)

    def endings(self) -> list[str]:
        """Of the members that are published: what their trainings were to reach, and whether they did."""
        return [f"{one.member}: {ended}." for one in self.trainings if one.fold is None for ended in one.ended]

    def line(self) -> str:
        """How well the workers were used."""
        total = sum(one.seconds for one in self.new)
        processor = sum(one.processor_seconds for one in self.new)
        over = len(self.trainings) - len(self.new)
        rounds, told = sum(one.synchronisations for one in self.new), sum(one.exchanged_bytes for one in self.new)
        exchanged = f"; {told / 1e6:.1f} MB in {rounds} synchronisations by first workers" if rounds else ""
        taken = f", {over} taken over" if over else ""
        return (
            f"Training: {self.technique} by --engine {self.engine}, workers: {self.workers}; {len(self.new)} trainings "
            f"of {total:.1f} s together ({processor:.1f} s of processor time) in {self.seconds:.1f} s"
            f"{taken}{exchanged}."
        )
