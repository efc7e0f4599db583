"""What gradients of weights that others have changed since do, and what keeps them from it."""

from __future__ import annotations

import pytest

from tests.exporter.optimisation.staleness import ANY, simulated

WORKERS = 17
"""Sixteen others push between a worker's pull and its push."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def test_few_workers_do_no_harm() -> None:
    assert simulated(1, ANY, scale=False).accuracy > 0.95
    found = simulated(5, ANY, scale=False)
    assert found.most == 4
    assert found.accuracy > 0.94


def test_a_staleness_of_sixteen_at_the_whole_rate_diverges() -> None:
    found = simulated(WORKERS, ANY, scale=False)
    assert found.most == 16
    assert found.accuracy < 0.3


def test_the_bound_prevents_it_at_the_cost_of_gradients_in_vain() -> None:
    found = simulated(WORKERS, 4, scale=False)
    assert found.most <= 4
    assert found.accuracy > 0.94
    assert found.refused > 800


def test_the_scaled_rate_prevents_it_at_the_cost_of_smaller_steps() -> None:
    found = simulated(WORKERS, ANY, scale=True)
    assert (found.most, found.refused) == (16, 0)
    assert 0.7 < found.accuracy < 0.94
    assert simulated(WORKERS, ANY, scale=True, pushes=2400).accuracy > found.accuracy + 0.03


def test_both_together_prevent_it() -> None:
    assert simulated(WORKERS, 4, scale=True).accuracy > 0.9
