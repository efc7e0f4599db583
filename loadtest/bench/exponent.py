"""How a cost grows: the exponent b of cost = a · size^b, fitted in logarithms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """Least-squares slope of log cost over log size; None with fewer than two sizes above 0.

    1 is proportional, 0 is independent; a fixed cost beside a growing one gives something between.
    """
    pairs = [(size, cost) for size, cost in zip(sizes, costs, strict=True) if size > 0 and cost > 0]
    if len({size for size, _ in pairs}) < 2:
        return None
    logs = np.log(np.array(pairs, dtype=np.float64))
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])
