"""A recurrent network that reads an image as a sequence of its rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.networks.image.pixels import Frame, Pixels

_CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


class RowReader(nn.Module):
    """Image → logits [n, C]: both directions over the rows, the maximum over time beside the last step."""

    def __init__(self, frame: Frame, columns: int, cell: str, hidden: int, dropout: float) -> None:
        super().__init__()
        self.pixels = Pixels(frame)
        self.reader = _CELLS[cell](frame.channels * frame.width, hidden, bidirectional=True, batch_first=True)
        self.head = nn.Sequential(nn.BatchNorm1d(4 * hidden), nn.Dropout(dropout), nn.Linear(4 * hidden, columns))

    def forward(self, image: Tensor) -> Tensor:
        rows = self.pixels(image).transpose(1, 2).flatten(2)
        states, _ = self.reader(rows)
        logits: Tensor = self.head(torch.cat([states.amax(dim=1), states[:, -1]], dim=1))
        return logits
