"""docs/adding-a-family.md as it stands: the files that it shows make a member that learns and converts."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from exporter.gate.inference import Graph
from exporter.images.digits import Digits
from exporter.members.base import Family, Setting, trainer_of

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-family.md"
SHOWN = re.compile(r"^`(?P<path>exporter/\S+\.py)`:\n\n```python\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Family]:
    """The page's files, importable under the names that it gives them."""
    files = {found["path"]: found["code"] for found in SHOWN.finditer(PAGE.read_text(encoding="utf-8"))}
    assert sum(code.count("\n") for code in files.values()) <= 60
    for path, code in files.items():
        folder, _, name = path.rpartition("/")
        written = tmp_path / folder / name
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(code, encoding="utf-8")
        package = import_module(folder.replace("/", "."))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(written.parent)])
        monkeypatch.delitem(sys.modules, f"{package.__name__}.{name.removesuffix('.py')}", raising=False)
    found: type[Family] = import_module("exporter.images.families.centroid").Centroid
    return found


def test_the_example_learns_and_its_graph_computes_what_it_does(family: type[Family]) -> None:
    data = Digits().load(None)
    setting = Setting(inputs=data.inputs, ranges=data.ranges, columns=len(data.classes), seed=0)
    fit, held = data.rows.take(np.arange(0, 1200)), data.rows.take(np.arange(1200, 1500))
    member = family().train(fit, setting)
    assert trainer_of(family).__module__ == "exporter.images.networks.centroid"
    answers = member.predict(held.inputs)  # type: ignore[union-attr]
    assert (answers.argmax(axis=1) == held.target).mean() > 0.8
    graph = Graph(member.to_onnx())
    np.testing.assert_allclose(graph(held.inputs), answers, rtol=1e-4, atol=1e-4)
