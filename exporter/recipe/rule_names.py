"""The rules that a recipe may name. Apart from the rules themselves: naming one needs no library."""

from __future__ import annotations

from typing import Literal

RuleName = Literal["mean", "weighted", "greedy", "vote", "geometric", "median", "stacked"]
"""`weighted` and `greedy` are one rule in the manifest; they differ in how the weights are found."""

REGRESSION_RULES: tuple[RuleName, ...] = ("weighted", "greedy", "mean", "median")
"""Those that a regression has."""
