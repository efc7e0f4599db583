"""Split-conformal quantiles."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model_repo import Conformal


def conformal_quantile(p: NDArray[np.float64], y: NDArray[np.int64], alpha: float) -> Conformal:
    """Sets {c: 1 - p_c ≤ quantile} hold the true class of a new row with probability of at least 1 - alpha.

    `p` float64 [n, C] are answers to rows that neither members nor rule were fitted to. The quantile is the
    ⌈(n + 1)(1 - alpha)⌉-th smallest score 1 - p_true (Vovk et al. 2005); 1, every class, where n is too small.
    """
    scores = np.sort(1.0 - p[np.arange(len(y)), y])
    rank = math.ceil((len(y) + 1) * (1 - alpha))
    quantile = 1.0 if rank > len(y) else float(np.clip(scores[rank - 1], 0.0, 1.0))
    return Conformal(alpha=alpha, quantile=quantile)
