"""Families and what trains them: specs without libraries, and an entry for each."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import ClassVar

import pytest

from exporter.data.dataset import Rows
from exporter.detectors import DETECTORS
from exporter.errors import TrainingError
from exporter.members.base import Family, Setting, trainer_of
from exporter.recipe.families import FAMILIES
from tests.exporter.samples import dataset

REGISTERED = sorted(
    {family for families in (*FAMILIES.values(), DETECTORS) for family in families.values()},
    key=lambda family: f"{family.__module__}.{family.__name__}",
)


class Elsewhere(Family, frozen=True, kw_only=True, tag="elsewhere-for-tests"):
    """Trained by this module."""

    trainer: ClassVar[str] = "tests.exporter.members.test_trainers:refused"


class NoModule(Elsewhere, frozen=True, kw_only=True, tag="no-module-for-tests"):
    trainer: ClassVar[str] = "exporter.series.networks.none:train_none"


class NoFunction(Elsewhere, frozen=True, kw_only=True, tag="no-function-for-tests"):
    trainer: ClassVar[str] = "exporter.series.networks:train_none"


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


@pytest.mark.parametrize("family", REGISTERED, ids=lambda family: f"{family.__module__}.{family.__name__}")
def test_every_family_s_entry_is_a_function_of_spec_rows_and_setting(family: type[Family]) -> None:
    train = trainer_of(family)
    assert list(inspect.signature(train).parameters) == ["spec", "rows", "setting"]
    taken = inspect.get_annotations(train, eval_str=True)["spec"]
    assert issubclass(family, taken)
    assert family.train is Family.train  # by its entry, not by a method of its own


def test_specs_import_no_training_library() -> None:
    code = (
        "import sys; import exporter.recipe.families, exporter.detectors; "
        "bad = {'torch', 'sklearn', 'scipy', 'lightgbm'} & set(sys.modules); "
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
