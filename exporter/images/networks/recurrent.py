"""A recurrent network that reads an image as a sequence of its rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.images.families.recurrent import Gru, Lstm
from exporter.images.networks.pixels import Frame, Pixels, frame_of
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import train_classifier

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


def train_recurrent(spec: Gru | Lstm, rows: Rows, setting: Setting) -> Trained:
    """A member with logits."""
    frame = frame_of(setting)
    build = lambda: RowReader(frame, setting.columns, spec.family, spec.hidden, spec.dropout)  # noqa: E731
    return train_classifier(build, rows, setting, spec.training)
