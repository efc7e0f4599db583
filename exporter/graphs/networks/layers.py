"""Two-layer graph networks: trained on the known graph, and as networks for a new node beside it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.graphs.families.gcn import Gcn
from exporter.graphs.families.graphsage import GraphSage
from exporter.graphs.networks.answers import NodeAnswers, averages, gathered
from exporter.graphs.networks.loop import fit_nodes
from exporter.graphs.networks.structure import TAKES, Structure, labelled, thinned, to_torch
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import TorchMember
from exporter.optimisation.run import seeded

_FINAL_STEPS = 100
"""Of the personalised PageRank after training: at a chance of 0.1 to return, 0.9^100 = 3e-5 of it is missing."""


class Layer(nn.Module):
    """Weights of a first layer [F, H] and its bias, drawn as Glorot and Bengio (2010) do."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features, hidden))
        self.bias = nn.Parameter(torch.zeros(hidden))
        nn.init.xavier_uniform_(self.weight)


class GcnNetwork(nn.Module):
    """Two convolutions over D^-½ (A + I) D^-½, or with `back` a network whose answers spread by PageRank."""

    def __init__(self, features: int, hidden: int, columns: int) -> None:
        super().__init__()
        self.first = Layer(features, hidden)
        self.second = nn.Linear(hidden, columns)


def fit_gcn(spec: Gcn, rows: Rows, setting: Setting) -> NodeAnswers:
    """A graph convolutional network (Kipf and Welling 2017). Raises TrainingError."""
    known = Structure.of(setting)
    x, spread = to_torch(known.features), to_torch(known.symmetric())
    with seeded(setting.seed):
        net = GcnNetwork(x.shape[1], spec.hidden, setting.columns)

        def hidden() -> Tensor:
            inputs = thinned(x, spec.dropout) if net.training else x
            found: Tensor = torch.sparse.mm(spread, torch.sparse.mm(inputs, net.first.weight)) + net.first.bias
            return found

        def forward() -> Tensor:
            active = nn.functional.dropout(hidden().relu(), spec.dropout, net.training)
            found: Tensor = torch.sparse.mm(spread, active @ net.second.weight.T) + net.second.bias
            return found

        answers = fit_nodes(net, [net.first.weight], forward, labelled(rows), spec.training)
    with torch.no_grad():
        return NodeAnswers(answers, _GcnNewcomer(net, x, hidden().relu(), known))


class _GcnNewcomer(nn.Module):
    """A new node's answer: its own features and, of its neighbours, the stored first and second layers."""

    below: Tensor
    above: Tensor
    root: Tensor

    def __init__(self, net: GcnNetwork, x: Tensor, hidden: Tensor, known: Structure) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("below", torch.sparse.mm(x, net.first.weight).detach())
        self.register_buffer("above", (hidden @ net.second.weight.T).detach())
        self.register_buffer("root", torch.from_numpy(known.degrees + 1.0).rsqrt())

    def forward(self, x: Tensor, place: Tensor, weight: Tensor) -> Tensor:
        degree = weight.sum(dim=1, keepdim=True) + 1.0
        near = weight * self.root[place] * degree.rsqrt()
        hidden = (x @ self.net.first.weight) / degree + gathered(self.below, place, near) + self.net.first.bias
        own = (hidden.relu() @ self.net.second.weight.T) / degree
        return own + gathered(self.above, place, near) + self.net.second.bias


def fit_pagerank(spec: Gcn, back: float, rows: Rows, setting: Setting) -> NodeAnswers:
    """A network on features whose logits spread by personalised PageRank (Gasteiger et al. 2019: APPNP)."""
    known = Structure.of(setting)
    x, spread = to_torch(known.features), to_torch(known.symmetric())
    with seeded(setting.seed):
        net = GcnNetwork(x.shape[1], spec.hidden, setting.columns)

        def own() -> Tensor:
            inputs = thinned(x, spec.dropout) if net.training else x
            hidden = (torch.sparse.mm(inputs, net.first.weight) + net.first.bias).relu()
            found: Tensor = net.second(nn.functional.dropout(hidden, spec.dropout, net.training))
            return found

        def spread_out(logits: Tensor, steps: int) -> Tensor:
            found = logits
            for _ in range(steps):
                found = (1 - back) * torch.sparse.mm(spread, found) + back * logits
            return found

        fit_nodes(net, [net.first.weight], lambda: spread_out(own(), spec.steps), labelled(rows), spec.training)
    with torch.no_grad():
        answers = spread_out(own(), _FINAL_STEPS)
    return NodeAnswers(answers, _PageRankNewcomer(net, answers, known, back))


class _PageRankNewcomer(nn.Module):
    """A new node's answer: the point that its own logits and its neighbours' answers hold in balance."""

    answers: Tensor
    root: Tensor

    def __init__(self, net: GcnNetwork, answers: Tensor, known: Structure, back: float) -> None:
        super().__init__()
        self.net, self.back = net, back
        self.register_buffer("answers", answers)
        self.register_buffer("root", torch.from_numpy(known.degrees + 1.0).rsqrt())

    def forward(self, x: Tensor, place: Tensor, weight: Tensor) -> Tensor:
        degree = weight.sum(dim=1, keepdim=True) + 1.0
        own = self.net.second((x @ self.net.first.weight + self.net.first.bias).relu())
        near = gathered(self.answers, place, weight * self.root[place] * degree.rsqrt())
        found: Tensor = (self.back * own + (1 - self.back) * near) / (1 - (1 - self.back) / degree)
        return found


class SageNetwork(nn.Module):
    """Two layers, each of a node's own vector and the mean of its neighbours'."""

    def __init__(self, features: int, hidden: int, columns: int) -> None:
        super().__init__()
        self.own, self.near = Layer(features, hidden), Layer(features, hidden)
        self.above_own = nn.Linear(hidden, columns)
        self.above_near = nn.Linear(hidden, columns, bias=False)


def fit_sage(spec: GraphSage, rows: Rows, setting: Setting) -> NodeAnswers:
    """GraphSAGE with mean aggregation over all neighbours (Hamilton et al. 2017). Raises TrainingError."""
    known = Structure.of(setting)
    x, mean = to_torch(known.features), to_torch(known.averaging())
    with seeded(setting.seed):
        net = SageNetwork(x.shape[1], spec.hidden, setting.columns)

        def hidden() -> Tensor:
            inputs = thinned(x, spec.dropout) if net.training else x
            near = torch.sparse.mm(mean, torch.sparse.mm(inputs, net.near.weight))
            found: Tensor = (torch.sparse.mm(inputs, net.own.weight) + near + net.own.bias).relu()
            return found

        def forward() -> Tensor:
            active = nn.functional.dropout(hidden(), spec.dropout, net.training)
            found: Tensor = net.above_own(active) + torch.sparse.mm(mean, net.above_near(active))
            return found

        weights = [net.own.weight, net.near.weight]
        answers = fit_nodes(net, weights, forward, labelled(rows), spec.training)
    with torch.no_grad():
        return NodeAnswers(answers, _SageNewcomer(net, x, hidden()))


class _SageNewcomer(nn.Module):
    """A new node's answer from its own features and, of its neighbours, the stored first and second layers."""

    below: Tensor
    above: Tensor

    def __init__(self, net: SageNetwork, x: Tensor, hidden: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("below", torch.sparse.mm(x, net.near.weight).detach())
        self.register_buffer("above", net.above_near(hidden).detach())

    def forward(self, x: Tensor, place: Tensor, weight: Tensor) -> Tensor:
        near = averages(weight)
        hidden = (x @ self.net.own.weight + gathered(self.below, place, near) + self.net.own.bias).relu()
        found: Tensor = self.net.above_own(hidden) + gathered(self.above, place, near)
        return found


def train_gcn(spec: Gcn, rows: Rows, setting: Setting) -> Trained:
    """A member with logits."""
    fitted = fit_gcn(spec, rows, setting) if spec.back is None else fit_pagerank(spec, spec.back, rows, setting)
    return TorchMember(fitted, setting, "logits", TAKES)


def train_sage(spec: GraphSage, rows: Rows, setting: Setting) -> Trained:
    """A member with logits."""
    return TorchMember(fit_sage(spec, rows, setting), setting, "logits", TAKES)
