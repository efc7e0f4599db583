"""The detectors of one export: scores on a common scale, a threshold, figures, and what goes into the version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from exporter.bundle import NO_DIGEST, SidePart
from exporter.data.dataset import Array
from exporter.detectors.foreign import auroc, permuted, random_rows
from exporter.detectors.rows import DetectorRow
from exporter.gate.inference import Graph
from model_repo import Detector
from server.runtime.side_models.detectors import Scale, weighted_mean

if TYPE_CHECKING:
    from exporter.training.jobs import Made

QUANTILES = 101
FUSED = "ood_score"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DetectorPanel:
    """Detectors in the recipe's order; `quantiles` of each are float64 [101] of rows that it was not fitted to."""

    families: Mapping[str, str]
    made: Mapping[str, Made]
    quantiles: Mapping[str, Floats]
    threshold: float | None

    @staticmethod
    def of(families: Mapping[str, str], made: Mapping[str, Made], alpha: float | None) -> DetectorPanel:
        """Scales and threshold from the fusion rows, which each detector answered when it was made."""
        levels = np.linspace(0.0, 1.0, QUANTILES)
        quantiles = {name: np.quantile(one.outputs[:, 0].astype(np.float64), levels) for name, one in made.items()}
        threshold = None
        if alpha is not None and made:
            places = np.stack([Scale(quantiles[name])(one.outputs[:, 0]) for name, one in made.items()])
            threshold = round(float(np.quantile(weighted_mean(places, np.ones((len(made), 1))), 1.0 - alpha)), 6)
        return DetectorPanel(families, made, quantiles, threshold)

    def score(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """`ood_score` float32 [n] as a server gives it."""
        places = self._places(inputs)
        return weighted_mean(places, np.ones((len(places), 1))).astype(np.float32)

    def rows(self, inputs: Mapping[str, Array], seed: int) -> tuple[DetectorRow, ...]:
        """Figures of each and of all together on the test rows' inputs."""
        usual, shuffled, drawn = (
            self._places(each) for each in (inputs, permuted(inputs, seed), random_rows(inputs, seed))
        )
        rows = [
            DetectorRow(
                name=name,
                family=self.families[name],
                auroc_permuted=auroc(usual[place], shuffled[place]),
                auroc_random=auroc(usual[place], drawn[place]),
            )
            for place, name in enumerate(self.made)
        ]
        ones = np.ones((len(rows), 1))
        together, *others = (weighted_mean(places, ones) for places in (usual, shuffled, drawn))
        flagged = None if self.threshold is None else float((together > self.threshold).mean())
        aurocs = [auroc(together, other) for other in others]
        rows.append(DetectorRow(name=FUSED, auroc_permuted=aurocs[0], auroc_random=aurocs[1], flagged=flagged))
        return tuple(rows)

    def parts(self) -> tuple[SidePart, ...]:
        """What goes into the version."""
        return tuple(SidePart(self._entry(name), one.onnx) for name, one in self.made.items())

    def _entry(self, name: str) -> Detector:
        quantiles = tuple(float(value) for value in np.maximum.accumulate(self.quantiles[name]))
        return Detector(
            name=name, file=f"detectors/{name}.onnx", sha256=NO_DIGEST, bytes=0, output=self.made[name].output_name,
            quantiles=quantiles, family=self.families[name],
        )  # fmt: skip

    def _places(self, inputs: Mapping[str, Array]) -> Floats:
        """Each detector's shares, float64 [D, n]."""
        scores = {name: Graph(one.onnx).in_batches(inputs)[:, 0] for name, one in self.made.items()}
        return np.stack([Scale(self.quantiles[name])(score) for name, score in scores.items()])
