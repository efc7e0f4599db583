"""Ridge regression solved exactly, answered by one torch layer."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from exporter.data.dataset import Rows
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import TorchMember
from exporter.series.families.linear import Linear
from exporter.series.networks.level import Levelled, Moves, difference
from exporter.series.source import WINDOW


def train_ridge(spec: Linear, rows: Rows, setting: Setting) -> Trained:
    """The weights with the least squared error plus `penalty` per row; the constant is not penalised."""
    moves = Moves(rows, setting, spec.series)
    layer = nn.Linear(moves.steps * moves.series, 1)
    member = Levelled(rows, setting, moves, nn.Sequential(nn.Flatten(), layer))
    with torch.no_grad():
        x = moves(torch.from_numpy(rows.inputs[WINDOW])).flatten(1).numpy().astype(np.float64)
    y = difference(rows, setting).astype(np.float64) / member.spread.numpy()
    mean, middle = x.mean(axis=0), y.mean()
    x -= mean
    gram = x.T @ x / len(x) + spec.penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ (y - middle) / len(x))
    layer.weight = nn.Parameter(torch.from_numpy(weights[None, :].astype(np.float32)))
    layer.bias = nn.Parameter(torch.tensor([middle - mean @ weights], dtype=torch.float32))
    return TorchMember(member, setting, "value", (WINDOW,))
