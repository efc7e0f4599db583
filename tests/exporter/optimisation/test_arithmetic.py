"""Steps in fewer bits, with the loss scaled where that takes it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from exporter.members.base import Training
from exporter.members.torch_member import cross_entropy
from exporter.members.training_loop import fit
from exporter.optimisation.arithmetic import Arithmetic, Steps
from exporter.optimisation.run import Run, seeded, training_in
from exporter.optimisation.spec import Precision


class Types(nn.Module):
    """Two layers; keeps the type that products come out in."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 16), nn.Linear(16, 2)
        self.seen = set[torch.dtype]()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        if self.training:
            self.seen.add(hidden.dtype)
        found: Tensor = self.second(nn.functional.relu(hidden))
        return found


def trained(precision: Precision) -> tuple[Types, Run]:
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(3))
    with training_in(Run(arithmetic=Arithmetic(precision))) as run, seeded(0):
        module = Types()
        training = Training(epochs=6, batch_rows=20, learning_rate=0.05)
        fit(module, [x], (x.sum(dim=1) > 0).long(), training, cross_entropy, 0, answer="logits")
    return module, run


@pytest.mark.parametrize(
    ("precision", "kind"), [("float32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_products_are_computed_as_asked_and_weights_stay_float32(precision: Precision, kind: torch.dtype) -> None:
    module, run = trained(precision)
    assert module.seen == {kind}
    assert {entry.dtype for entry in run.kept[0].values()} == {torch.float32}
    assert run.curves[0].points[-1].accuracy is not None
    assert run.curves[0].points[-1].accuracy > 0.9


def test_a_step_whose_gradients_overflow_is_left_out_and_the_scale_falls() -> None:
    layer = nn.Linear(2, 1, bias=False)
    steps = Steps(Arithmetic("fp16"), layer, torch.optim.SGD(layer.parameters(), 0.1))
    before, scale = layer.weight.detach().clone(), steps.state()["scale"]
    steps.backward(layer(torch.full((1, 2), 1e38)).sum())
    steps.take(layer, None)
    assert torch.equal(layer.weight, before)
    assert steps.state()["scale"] < scale
    layer.weight.grad = None
    steps.backward(layer(torch.ones(1, 2)).sum())
    steps.take(layer, None)
    assert torch.allclose(layer.weight, before - 0.1)


def test_gradients_are_cut_after_the_scale_is_taken_off() -> None:
    layer = nn.Linear(2, 1, bias=False)
    steps = Steps(Arithmetic("fp16"), layer, torch.optim.SGD(layer.parameters(), 1.0))
    before = layer.weight.detach().clone()
    steps.backward(layer(torch.tensor([[3.0, 4.0]])).sum())
    steps.take(layer, 1.0)
    assert torch.allclose(before - layer.weight, torch.tensor([[0.6, 0.8]]), atol=1e-4)


def test_a_training_that_goes_on_goes_on_with_its_scale() -> None:
    layer = nn.Linear(2, 1)
    steps = Steps(Arithmetic("fp16"), layer, torch.optim.SGD(layer.parameters(), 0.1))
    steps.backward(layer(torch.full((1, 2), 1e38)).sum())
    steps.take(layer, None)
    again = Steps(Arithmetic("fp16"), layer, torch.optim.SGD(layer.parameters(), 0.1))
    again.restore(steps.state())
    assert again.state() == steps.state()
    assert Steps(Arithmetic(), layer, torch.optim.SGD(layer.parameters(), 0.1)).state() == {}


@pytest.mark.slow
@pytest.mark.timeout(900)  # a C++ compiler at work
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch's own import
def test_a_compiled_network_learns_what_one_that_is_not_learns() -> None:
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(3))
    losses = []
    for compiled in (False, True):
        with training_in(Run(arithmetic=Arithmetic(compiled=compiled))) as run, seeded(0):
            training = Training(epochs=2, batch_rows=16)
            fit(nn.Linear(4, 2), [x], (x.sum(dim=1) > 0).long(), training, cross_entropy, 0, answer="logits")
        losses.append([point.loss for point in run.curves[0].points])
        assert list(run.kept[0]) == ["weight", "bias"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
