"""Durations as people read them: never 0.000 s."""

from __future__ import annotations

import pytest

from server.serving.durations import spoken


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (1e-6, "1 µs"), (0.0, "1 µs"), (9.99e-7, "1 µs"), (0.00025, "250 µs"), (0.0032, "3.2 ms"), (0.02, "20 ms"),
        (0.9994, "999 ms"), (1.0, "1 s"), (1.5, "1.5 s"), (59.99, "60 s"), (3600.0, "3600 s"),
    ],
)  # fmt: skip
def test_a_duration_has_the_unit_in_which_it_has_digits(seconds: float, told: str) -> None:
    assert spoken(seconds) == told
