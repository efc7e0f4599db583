"""The graph of every member for pairs: ids to places, the baseline, the member's own correction, the range."""

from __future__ import annotations

from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import TorchMember
from exporter.ratings.families.baseline import Baseline
from exporter.ratings.families.popularity import Popularity
from exporter.ratings.networks.baseline import BaselineTables, Floats, fit_baseline
from exporter.ratings.networks.ids import IdPlaces
from exporter.ratings.networks.ratings import TAKES, Ratings, tables


class PairRegressor(nn.Module):
    """user, item, timestamp int64 [n] → a rating [n, 1] within the range: the baseline and a member's correction.

    `correction` maps places of users and items to float32 [n]; the place behind the last is an unknown one.
    """

    def __init__(
        self, users: nn.Module, items: nn.Module, baseline: nn.Module, correction: nn.Module | None,
        bounds: tuple[float, float],
    ) -> None:  # fmt: skip
        super().__init__()
        self.users, self.items, self.baseline, self.correction = users, items, baseline, correction
        self.low, self.high = bounds

    def forward(self, user: Tensor, item: Tensor, timestamp: Tensor) -> Tensor:
        u, i = self.users(user), self.items(item)
        value: Tensor = self.baseline(u, i, timestamp)
        if self.correction is not None:
            value = value + self.correction(u, i)
        return value.clamp(self.low, self.high)[:, None]


def prepared(spec: Baseline, rows: Rows, setting: Setting) -> tuple[Ratings, BaselineTables, Floats]:
    """The rows by place, their baseline, and what it leaves of each, float64 [n]. Raises TrainingError."""
    ratings = Ratings.of(rows, setting)
    fitted, left = fit_baseline(spec, ratings)
    return ratings, BaselineTables(fitted), left


def finished(baseline: BaselineTables, correction: nn.Module | None, setting: Setting) -> TorchMember:
    """The member whose values are the baseline and the correction."""
    context = tables(setting)
    low, high = (float(bound) for bound in context["rating_range"])
    users, items = IdPlaces(context["user_ids"]), IdPlaces(context["item_ids"])
    return TorchMember(PairRegressor(users, items, baseline, correction, (low, high)), setting, "value", TAKES)


def train_popularity(spec: Popularity, rows: Rows, setting: Setting) -> Trained:
    """A member with values."""
    _, baseline, _ = prepared(spec.baseline, rows, setting)
    return finished(baseline, None, setting)
