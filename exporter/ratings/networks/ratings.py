"""Training rows as numbers of users and items: what every member for pairs starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array, Rows
from exporter.errors import TrainingError
from exporter.members.base import Setting

TAKES = ("user", "item", "timestamp")
"""The inputs of every member for pairs."""

_CONTEXT = ("user_ids", "item_ids", "user_features", "item_features", "rating_range")


@dataclass(frozen=True)
class Ratings:
    """n ratings: `user` and `item` int64 [n] are places in the context's tables, `value` float64 [n]."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    time: NDArray[np.int64]
    value: NDArray[np.float64]
    users: int
    items: int

    @staticmethod
    def of(rows: Rows, setting: Setting) -> Ratings:
        """The rows by place. Raises TrainingError where the data set has no tables of users and items."""
        context = tables(setting)
        user = np.searchsorted(context["user_ids"], rows.inputs["user"]).astype(np.int64)
        item = np.searchsorted(context["item_ids"], rows.inputs["item"]).astype(np.int64)
        value = rows.target.astype(np.float64)
        return Ratings(user, item, rows.inputs["timestamp"], value, len(context["user_ids"]), len(context["item_ids"]))

    def dense(self, value: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`value` [n] and 1 in tables float64 [users, items]; 0 where there is no rating."""
        found, rated = np.zeros((self.users, self.items)), np.zeros((self.users, self.items))
        found[self.user, self.item] = value
        rated[self.user, self.item] = 1.0
        return found, rated


def tables(setting: Setting) -> Mapping[str, Array]:
    """The context. Raises TrainingError where something is missing from it."""
    if missing := [name for name in _CONTEXT if name not in setting.context]:
        raise TrainingError(f"needs {', '.join(missing)} in the data's context")
    return setting.context
