"""Whether a provider gives what the CPU gives, at sizes on both sides of every bucket."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from loadtest.accelerators.versions import OUTPUTS, Versions
from loadtest.accelerators.ways import Way
from loadtest.peers.networks import INPUT
from server.errors import LoadError
from server.runtime import Array, LoadedEnsemble, SessionPool

TOLERANCE = 1e-4
"""Of a probability, float32 on both sides: the golden rows' default."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How far one way is from the CPU: the largest absolute difference and the batch where it was.

    `problem` says why there is no comparison: a version that was refused, an answer of another shape.
    """

    way: str
    plan: str
    difference: float
    rows: int
    tolerance: float = TOLERANCE
    problem: str = ""

    @property
    def good(self) -> bool:
        """Whether every number is within the tolerance."""
        return not self.problem and self.difference <= self.tolerance


def compared_rows(most_rows: int) -> tuple[int, ...]:
    """Every power of two up to the most rows with its neighbours, ascending."""
    powers = [1 << power for power in range(most_rows.bit_length())]
    near = {size + step for size in (*powers, most_rows) for step in (-1, 0, 1)}
    return tuple(sorted(size for size in near if 1 <= size <= most_rows))


def compare(versions: Versions, ways: Sequence[Way], most_rows: int) -> list[Agreement]:
    """One agreement for each way; a version that is refused is one, too. Raises nothing of the runtime's."""
    pool = SessionPool()
    with versions.loaded(1, pool) as reference:
        sizes = compared_rows(most_rows)
        wanted = {rows: _answer(reference, versions, rows) for rows in sizes}
    return [_agreement(versions, way, pool, wanted) for way in ways]


def _agreement(versions: Versions, way: Way, pool: SessionPool, wanted: dict[int, dict[str, Array]]) -> Agreement:
    worst, where = 0.0, 0
    try:
        with versions.loaded(1, pool, (way.provider,)) as ensemble:
            plan = ensemble.plan
            for rows, outputs in wanted.items():
                for _ in range(2):  # the first run of a shape is a plain one, the second is in buffers
                    difference, problem = _difference(_answer(ensemble, versions, rows), outputs)
                    if problem:
                        return Agreement(
                            way=way.name, plan=plan, difference=difference, rows=rows, problem=f"{rows} rows: {problem}"
                        )
                    if difference >= worst:
                        worst, where = difference, rows
    except LoadError as error:
        return Agreement(way=way.name, plan="none", difference=float("inf"), rows=0, problem=str(error))
    return Agreement(way=way.name, plan=plan, difference=worst, rows=where)


def _answer(ensemble: LoadedEnsemble, versions: Versions, rows: int) -> dict[str, Array]:
    prediction = ensemble.predict({INPUT: versions.rows(rows, seed=rows)}, OUTPUTS)
    if prediction.failures:
        first = prediction.failures[0]
        raise LoadError("golden", f"{rows} rows: member {first.member!r} fails: {first.detail}")
    return {name: prediction.outputs[name] for name in OUTPUTS}


def _difference(given: dict[str, Array], wanted: dict[str, Array]) -> tuple[float, str]:
    worst = 0.0
    for name, array in wanted.items():
        if given[name].shape != array.shape:
            return float("inf"), f"{name} is {list(given[name].shape)}, the CPU gives {list(array.shape)}"
        difference = float(np.abs(given[name].astype(np.float64) - array).max())
        if not np.isfinite(difference):
            return float("inf"), f"{name} holds numbers that are not finite"
        worst = max(worst, difference)
    return worst, ""
