"""Whether numbers made in two places are the same ones: |given − stored| ≤ atol + rtol × |stored|.

Both sides are rounded to the stored array's datatype first: a float64 sum held against its own float32 copy would
differ by half a digit that nobody computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.runtime.datatypes import Array, Floats, Mask


@dataclass(frozen=True, slots=True)
class Closeness:
    """How far two arrays of one shape are apart; all three are of that shape.

    `difference` is 0 where both are NaN, or the same infinity, and infinite where one of them is.
    """

    difference: Floats
    allowed: Floats

    @property
    def far(self) -> Mask:
        """Where the difference is more than is allowed."""
        wrong: Mask = self.difference > self.allowed
        return wrong

    @property
    def worst(self) -> tuple[int, ...]:
        """Where it is furthest beyond what is allowed there."""
        beyond = self.difference - self.allowed
        return tuple(int(place) for place in np.unravel_index(int(beyond.argmax()), beyond.shape))


def closeness(given: Array, stored: Array, atol: float, rtol: float, *, by_row: bool = False) -> Closeness:
    """How far floats `given` are from floats `stored` of the same shape.

    `by_row`: a small number beside large ones in its row has their rounding, so its row's largest counts in its place.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what no longer fits is infinite, and then told as that
        mine = given.astype(stored.dtype).astype(np.float64)
        theirs = stored.astype(np.float64)
        difference: Floats = np.abs(mine - theirs)
    difference[np.isnan(difference)] = np.inf
    difference[(np.isnan(mine) & np.isnan(theirs)) | (mine == theirs)] = 0.0
    size = np.where(np.isfinite(theirs), np.abs(theirs), 0.0)
    if by_row and size.ndim > 1:
        size = np.broadcast_to(size.max(axis=tuple(range(1, size.ndim)), keepdims=True, initial=0.0), size.shape)
    return Closeness(difference, atol + rtol * size)


def typical(values: Array) -> float:
    """The size of a usual one of the values that are neither 0 nor infinite: their median; 0.0 where there is none."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)].astype(np.float64))
    return float(np.median(sizes)) if sizes.size else 0.0


def largest(values: Array) -> float:
    """The size of the largest of the values that are finite; 0.0 where there is none."""
    sizes = np.abs(values[np.isfinite(values)].astype(np.float64))
    return float(sizes.max(initial=0.0))
