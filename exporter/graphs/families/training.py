"""How a network on one whole graph is trained."""

from __future__ import annotations

from typing import Literal

from exporter.optimisation.spec import Count, NotNegative, Optimisation, Rate


class NodeTraining(Optimisation, frozen=True, kw_only=True):
    """Adam at one rate; every step sees the whole graph. Defaults: Kipf and Welling (2017)."""

    epochs: Count = 200
    learning_rate: Rate = 0.01
    weight_decay: NotNegative = 5e-4
    """Of the first layer."""
    optimiser: Literal["adamw", "adam", "sgd"] = "adam"
    schedule: Literal["one_cycle", "constant"] = "constant"
