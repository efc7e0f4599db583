"""The part that all members for pairs share."""

from __future__ import annotations

from exporter.optimisation.spec import Count, NotNegative, Rate, Spec


class Baseline(Spec, frozen=True, kw_only=True):
    """Mean, user, item, the item's popularity over time, and the mood of the user's sitting.

    Shrinkages are in ratings: so many ratings of the average pull against a user's or an item's own. The
    defaults suit MovieLens-100K (docs/recipes/recommend.md).
    """

    user_shrinkage: NotNegative = 5.0
    item_shrinkage: NotNegative = 3.0
    periods: Count = 4
    """Stretches of time with equally many ratings, in each of which an item has a popularity of its own."""
    period_shrinkage: NotNegative = 100.0
    sitting_s: Rate | None = 100.0
    """Seconds after which a rating says 1/e as much on the mood; absent: no moods, whatever the time."""
    sitting_shrinkage: NotNegative = 4.0
    remembered: Count = 1000
    """Ratings of a user, the latest, that are stored for the mood."""
