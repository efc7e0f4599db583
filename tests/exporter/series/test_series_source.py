"""Windows of series: their targets, their parts in time, and mistakes told by file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.data.dataset import FREE, FUSION, TEST
from exporter.errors import DataError
from exporter.recipe.sources import SplitSpec, clean, split
from exporter.series.source import PREDICTED, WINDOW, Series
from tests.exporter.series.samples import hours


def counted(steps: int = 60) -> str:
    """Two series whose values are their own steps: OT = step, other = 1000 + step."""
    rows = [f"2020-01-{1 + step // 24:02d} {step % 24:02d}:00:00,{1000 + step},{step}" for step in range(steps)]
    return "\n".join(["date,other,OT", *rows]) + "\n"


def load(folder: Path, text: str, **fields: Any) -> Any:
    """The dataset of one file."""
    (folder / "a.csv").write_text(text)
    return Series(file=("a.csv",), **{"window": 4, "horizon": 3, **fields}).load(folder)


def test_a_row_is_a_window_of_all_series_and_the_target_some_steps_later(tmp_path: Path) -> None:
    data = load(tmp_path, counted())
    assert data.inputs[0].shape == (-1, 4, 2)
    assert data.context[PREDICTED] == 1
    assert data.rows.inputs[WINDOW][0].tolist() == [[1000, 0], [1001, 1], [1002, 2], [1003, 3]]
    assert data.rows.target[0] == 6
    assert (data.rows.target == data.rows.inputs[WINDOW][:, -1, 1] + 3).all()


def test_the_parts_follow_each_other_in_time_and_share_no_step(tmp_path: Path) -> None:
    data = load(tmp_path, counted(), parts=(30, 12, 15))
    seen = []
    for part, first, past in ((FREE, 0, 30), (FUSION, 30, 42), (TEST, 42, 57)):
        rows = data.rows.take(np.flatnonzero(data.rows.part == part))
        steps = np.concatenate([rows.inputs[WINDOW][:, :, 1].ravel(), rows.target])
        assert (steps.min(), steps.max()) == (first, past - 1)
        assert len(rows) == past - first - 6
        seen.append(set(steps.tolist()))
    assert not seen[0] & seen[1]
    assert not seen[1] & seen[2]
    parts = split(clean(data, "error")[0].rows, SplitSpec(golden=3, folds=0), 0)
    assert [len(parts.fit), len(parts.fusion), len(parts.test), len(parts.golden)] == [24, 6, 9, 3]


def test_fit_windows_can_be_some_steps_apart_and_series_be_chosen(tmp_path: Path) -> None:
    data = load(tmp_path, counted(), parts=(30, 12, 15), every=6, series=("OT",))
    fit = data.rows.take(np.flatnonzero(data.rows.part == FREE))
    assert fit.target.tolist() == [6, 12, 18, 24]
    assert fit.inputs[WINDOW].shape == (4, 4, 1)


@pytest.mark.parametrize(
    ("change", "fields", "message"),
    [
        (("", ""), {"target": "OIL"}, r"a\.csv: has no series 'OIL' \(data\.target\), its series are 'other', 'OT'"),
        (("", ""), {"series": ("HULL",)}, r"has no column 'HULL' \(data\.series\)"),
        (("", ""), {"date": "time"}, r"has no column 'time' \(data\.date\)"),
        ((",1005,5\n", ",1005,\n"), {}, r"a\.csv, line 7: OT is '', expected a finite number"),
        ((",1005,5\n", ",NaN,5\n"), {}, r"line 7: other is 'NaN', expected a finite number"),
        (("2020-01-01 05:00:00", "yesterday"), {}, r"line 7: the date is 'yesterday', expected ISO 8601"),
        (("2020-01-01 05:00:00", "2020-01-01 05:30:00"), {}, r"line 7: is 1:30:00 after the row before, expected 1:00"),
        (("2020-01-01 05:00:00", "2020-01-01 05:00:00+01:00"), {}, r"line 7: .* some dates have a time zone"),
        (("", ""), {"parts": (50, 20, 20)}, r"has 60 steps, data\.parts wants 50 \+ 20 \+ 20"),
        (("", ""), {"window": 12, "horizon": 6}, r"the fusion part has 12 steps, a window of 12 .* need 18"),
        ((",1005,5\n", ",1005\n"), {}, r"line 7: has 2 values, expected 3"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(
    change: tuple[str, str], fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    text = counted().replace(*change) if change[0] else counted()
    with pytest.raises(DataError, match=message):
        load(tmp_path, text, **fields)


def test_a_file_without_dates_is_taken_as_it_stands(tmp_path: Path) -> None:
    hours(tmp_path / "a.csv", steps=60)
    lines = [line.partition(",")[2] for line in (tmp_path / "a.csv").read_text().splitlines()]
    data = load(tmp_path, "\n".join(lines), date="")
    assert data.inputs[0].shape == (-1, 4, 2)
