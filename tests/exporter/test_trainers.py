"""Families and what trains them: specs without libraries, and an entry for each."""

from __future__ import annotations

from typing import ClassVar

import pytest

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.families.base import Family, Setting, trainer_of
from tests.exporter.data import dataset


class Elsewhere(Family, frozen=True, kw_only=True, tag="elsewhere-for-tests"):
    """Trained by this module."""

    trainer: ClassVar[str] = "tests.exporter.test_trainers:refused"


class NoModule(Elsewhere, frozen=True, kw_only=True, tag="no-module-for-tests"):
    trainer: ClassVar[str] = "exporter.networks.series.none:train_none"


class NoFunction(Elsewhere, frozen=True, kw_only=True, tag="no-function-for-tests"):
    trainer: ClassVar[str] = "exporter.networks.series:train_none"


class NoEntry(Elsewhere, frozen=True, kw_only=True, tag="no-entry-for-tests"):
    trainer: ClassVar[str] = ""


def refused(spec: Elsewhere, rows: Rows, setting: Setting) -> None:
    """Tells what it was called with."""
    raise TrainingError(f"{spec.family} on {len(rows)} rows under {setting.seed}")


def test_a_family_is_trained_by_the_function_that_it_names() -> None:
    data = dataset([[0.0], [1.0]], [0, 1])
    setting = Setting(inputs=data.inputs, ranges={}, columns=2, seed=7)
    with pytest.raises(TrainingError, match="elsewhere-for-tests on 2 rows under 7"):
        Elsewhere().train(data.rows, setting)


@pytest.mark.parametrize("family", [NoModule, NoFunction, NoEntry])
def test_an_entry_that_names_nothing_is_told_as_a_bug(family: type[Family]) -> None:
    with pytest.raises(LookupError, match=rf"{family.__name__}\.trainer is '.*', expected MODULE:FUNCTION; .* a bug"):
        trainer_of(family)
