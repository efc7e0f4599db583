"""How steps are computed: in which precision, compiled or not. What is converted and compared is always float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exporter.optimisation.checkpoints import Snapshot
from exporter.optimisation.spec import Precision

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Arithmetic:
    """What a call asks for."""

    precision: Precision = "float32"
    """`bf16` and `fp16`: products and convolutions under torch's autocast; weights and sums stay float32."""
    compiled: bool = False
    """Networks go through torch.compile."""

    def network(self, module: nn.Module) -> nn.Module:
        """What losses call. It is compiled at its first call, which may take a minute."""
        if not self.compiled:
            return module
        found: nn.Module = torch.compile(module)  # type: ignore[assignment]  # a module comes back as one
        return found


class Steps:
    """One network's backward passes and steps; with fp16 the loss is scaled, and a step that overflows is left out."""

    def __init__(self, arithmetic: Arithmetic, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        self._optimiser = optimiser
        self._type = _TYPES.get(arithmetic.precision)
        self._device = next((entry.device for entry in module.parameters()), torch.device("cpu")).type
        self.scaler = torch.amp.GradScaler(self._device) if arithmetic.precision == "fp16" else None

    def forward(self) -> AbstractContextManager[object]:
        """In it the loss is computed."""
        if self._type is None:
            return nullcontext()
        return torch.autocast(self._device, self._type)

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss; with fp16 those of the scaled loss, until `take`."""
        value = loss if self.scaler is None else self.scaler.scale(loss)
        value.backward()  # type: ignore[no-untyped-call]

    def state(self) -> Snapshot:
        """The scale and what it hangs on; empty where nothing is scaled."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def restore(self, state: Snapshot) -> None:
        """Go on from a state."""
        if self.scaler is not None and state:
            self.scaler.load_state_dict(state)

    def ready(self, module: nn.Module, most_gradient: float | None) -> bool:
        """Whether gradients are there for a step that others take, cut to the norm; False where fp16 overflowed."""
        if self.scaler is not None:
            self.scaler.unscale_(self._optimiser)
            self.scaler.update()
            gradients = [entry.grad for entry in module.parameters() if entry.grad is not None]
            if not all(bool(torch.isfinite(entry).all()) for entry in gradients):
                return False
        if most_gradient is not None:
            nn.utils.clip_grad_norm_(module.parameters(), most_gradient)
        return True

    def take(self, module: nn.Module, most_gradient: float | None) -> None:
        """One step along the gradients that are there, cut to the norm `most_gradient`."""
        if self.scaler is not None:
            self.scaler.unscale_(self._optimiser)
        if most_gradient is not None:
            nn.utils.clip_grad_norm_(module.parameters(), most_gradient)
        if self.scaler is None:
            self._optimiser.step()
        else:
            self.scaler.step(self._optimiser)
            self.scaler.update()
        if self._device == "xla":
            _sync_xla()


def _sync_xla() -> None:
    """PyTorch/XLA records operations; here they are compiled and sent."""
    import torch_xla  # type: ignore[import-not-found]  # where it is installed

    torch_xla.sync()
