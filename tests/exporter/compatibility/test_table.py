"""Every row of docs/compatibility.md: its files are made, its line is typed, its answers are compared."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from model_repo import Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.exporter.compatibility import boosted, drawn, fitted, forms, mixed, quantised, wired
from tests.exporter.compatibility.table import Brought, Row, rows
from tutti import main

KINDS = (fitted, boosted, drawn, forms, wired, mixed, quantised)
BROUGHT: dict[str, Brought] = {name: made for kind in KINDS for name, made in kind.BROUGHT.items()}
"""What each row brings. A new row of the page needs an entry here, in a file of its kind."""


def test_every_row_is_executed_and_every_entry_is_a_row() -> None:
    assert sorted(row.brought for row in rows()) == sorted(BROUGHT)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.brought)
def test_the_line_of_the_row_serves_what_was_brought(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = BROUGHT[row.brought](tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUTTI_REPOSITORY", raising=False)
    program, command, name, *words = shlex.split(row.line)
    assert (program, command) == ("tutti", "publish")
    status = main([command, name, *words])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    for part in expected.told:
        assert part in printed.out
    ensemble = LoadedEnsemble.open(Repository("models").open(name, 1), SessionPool(), RuntimeOptions(cores=1))
    try:
        ensemble.check_golden()
        assert ensemble.manifest.classes == expected.classes
        found = ensemble.predict(expected.feeds, tuple(expected.outputs)).outputs
    finally:
        ensemble.close()
    for output, values in expected.outputs.items():
        if values.dtype.kind in "fiu":
            np.testing.assert_allclose(found[output], values, atol=expected.atol, rtol=expected.rtol)
        else:
            assert found[output].tolist() == values.tolist()
