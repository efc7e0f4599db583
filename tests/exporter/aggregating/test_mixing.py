"""Rules by which parameters are averaged, and whose may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from exporter.aggregating.lineage import require_one_lineage
from exporter.aggregating.mean import by_inverse_loss, even, exponential, mean_of
from exporter.aggregating.mixing import mixed
from exporter.errors import ParametersError
from exporter.optimisation.state import state_of
from exporter.parameters.file import Parameters, read, written
from exporter.recipe.lineage import Aggregate
from tests.exporter.parameters.problems import network

LOSSES = {"a": 0.3, "b": 0.1, "c": 0.2}


def of_lineage(root: str, width: int = 4, seed: int = 0) -> Parameters:
    facts: dict[str, Any] = {"member": "m", "family": "f", "start": "s", "root": root}
    return read(written([state_of(network(width, seed))], facts), "m")


def measured(weights: Mapping[str, float]) -> float:
    """Less where b and c are in, more with a."""
    return 0.05 if set(weights) == {"b", "c"} else 0.5


def test_the_mean_is_weighted_and_leaves_whole_numbers_alone() -> None:
    first = {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(7)}
    second = {"w": torch.tensor([3.0, 6.0]), "n": torch.tensor(9)}
    (found,) = mean_of({"a": [first], "b": [second]}, {"a": 0.25, "b": 0.75})
    assert found["w"].tolist() == [2.5, 5.0]
    assert found["n"].item() == 7


def test_a_member_of_weight_zero_takes_no_part() -> None:
    strange = {"w": torch.tensor([torch.nan])}
    (found,) = mean_of({"a": [strange], "b": [{"w": torch.tensor([2.0])}]}, {"a": 0.0, "b": 1.0})
    assert found["w"].tolist() == [2.0]


def test_weights_of_the_rules() -> None:
    assert even(["a", "b"]) == {"a": 0.5, "b": 0.5}
    assert by_inverse_loss({"a": 0.1, "b": 0.3}) == pytest.approx({"a": 0.75, "b": 0.25})
    assert exponential(["a", "b", "c"], 0.5) == {"a": 0.25, "b": 0.25, "c": 0.5}


@pytest.mark.parametrize(
    ("rule", "weights"),
    [
        ("uniform", {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}),
        ("weighted", {"a": 2 / 11, "b": 6 / 11, "c": 3 / 11}),
        ("ema", {"a": 0.25, "b": 0.25, "c": 0.5}),
        ("greedy_soup", {"a": 0.0, "b": 0.5, "c": 0.5}),
    ],
)
def test_an_aggregate_is_mixed_by_its_rule(rule: Any, weights: Mapping[str, float]) -> None:
    found = mixed("soup", Aggregate(members=("a", "b", "c"), rule=rule), LOSSES, measured)
    assert found.weights == pytest.approx(weights)
    assert found.loss == (0.05 if rule == "greedy_soup" else 0.5)


def test_a_soup_that_nobody_improves_is_its_best_member() -> None:
    found = mixed("soup", Aggregate(members=("a", "b")), {"a": 0.2, "b": 0.1}, lambda _: 0.3)
    assert found.taken == ("b",)
    assert found.loss == 0.1


def test_one_root_and_one_structure_may_be_averaged() -> None:
    require_one_lineage({"a": of_lineage("r"), "b": of_lineage("r", seed=1)})


def test_other_roots_are_refused_with_the_advice_to_fuse_answers() -> None:
    with pytest.raises(ParametersError) as caught:
        require_one_lineage({"a": of_lineage("r"), "b": of_lineage("r"), "c": of_lineage("s", seed=1)})
    told = str(caught.value)
    assert told.startswith("'a', 'b' and 'c' were not trained from one base, and the mean of networks")
    assert "fuse their answers instead" in told
    assert "\n" not in told


def test_other_structures_are_refused() -> None:
    with pytest.raises(ParametersError, match=r"^'a' and 'b' have networks of different structure"):
        require_one_lineage({"a": of_lineage("r"), "b": of_lineage("r", width=6)})
