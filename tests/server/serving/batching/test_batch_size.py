"""The most rows of a batch: where more of them are no faster, fewer are sooner answered."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from server.serving.batching.batch_size import efficient_rows


@pytest.mark.parametrize(
    ("seconds", "most", "expected"),
    [
        (lambda rows: 1e-3, 64, 64),
        (lambda rows: 1e-3 + 1e-5 * rows, 64, 64),
        (lambda rows: 1e-3 * rows, 64, 64),
        (lambda rows: 1e-3 * rows**1.3, 64, 1),
        (lambda rows: 1e-3 * rows * (1.0 if rows <= 8 else 1.4), 64, 8),
        (lambda rows: 1e-3 * rows * (1.0 if rows <= 8 else 1.05), 64, 64),
        (lambda rows: 1e-4 + 1e-3 * rows * (1.0 if rows <= 16 else 1.3), 48, 16),
        (lambda rows: 0.0, 64, 64),
        (lambda rows: 1e-3, 1, 1),
    ],
    ids=["shared", "mostly alone", "proportional", "worse and worse", "caches", "noise", "odd most", "unknown", "one"],
)
def test_batches_grow_while_a_row_takes_hardly_longer(
    seconds: Callable[[int], float], most: int, expected: int
) -> None:
    assert efficient_rows(seconds, most) == expected
