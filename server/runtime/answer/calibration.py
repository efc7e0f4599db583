"""Member outputs to calibrated probabilities: softmax(log p / T) and softmax(z / T), in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_repo.format.manifest import Kind
from server.runtime.datatypes import Floats


def temper(P: Floats, temperature: float | Floats) -> Floats:
    """softmax(log P / T) of float64 [..., C] with P ≥ 0 and a positive entry in each row; float64 [..., C].

    `temperature` is one number or an array that broadcasts over the rows. Written as a power of p / max p:
    a zero stays an exact zero without log(0), and no exponent underflows a whole row.
    """
    Q: Floats = P / P.max(axis=-1, keepdims=True)
    np.power(Q, 1.0 / temperature, out=Q)
    Q /= Q.sum(axis=-1, keepdims=True)
    return Q


def softmax(Z: Floats, temperature: float | Floats = 1.0) -> Floats:
    """softmax(Z / T) of finite float64 [..., C]; float64 [..., C], rows sum to 1."""
    Q: Floats = Z - Z.max(axis=-1, keepdims=True)
    if not isinstance(temperature, float) or temperature != 1.0:
        Q /= temperature
    np.exp(Q, out=Q)
    Q /= Q.sum(axis=-1, keepdims=True)
    return Q


def calibrate(X: NDArray[Any], kind: Kind, temperature: float = 1.0) -> Floats:
    """Calibrated float64 [..., C] of a member's output: `logits` by softmax, `probabilities` tempered, `value` as is.

    What the alignment of a served ensemble makes of the same output, so fitting a fusion uses it too: an exact zero
    stays one, what rounding put below zero is zero, and probabilities at temperature 1 are not renormalised. Not
    checked here: that rows are finite and sum to 1; the alignment masks rows that are not before it calibrates.
    """
    values = np.asarray(X, dtype=np.float64)
    if kind == "logits":
        return softmax(values, temperature)
    if kind == "probabilities":
        values = np.maximum(values, 0.0)
        return values if temperature == 1.0 else temper(values, temperature)
    return values
