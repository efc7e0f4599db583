"""Can this machine train as a call asks? One clear line for each thing that it cannot."""

from __future__ import annotations

import os
import platform
import sys
from importlib.util import find_spec

from exporter.errors import ExportError
from exporter.optimisation.spec import DataParallel, Device, LocalSgd, Mode, Parallel, Precision
from exporter.recipe.options import Options


def require_hardware(options: Options, technique: Mode) -> None:
    """Raises ExportError where the device is not there, or cannot do what the precision or the technique takes."""
    _require_device(options.device)
    _require_precision(options.precision, options.device, technique)
    if options.compile and not isinstance(technique, Parallel):
        raise ExportError(
            f"--compile: with training.mode {technique.mode!r} workers look into the network, expected mode 'parallel'"
        )


def _require_device(device: Device) -> None:
    if device != "cpu" and (missing := _MISSING[device]()):
        raise ExportError(f"--device {device}: {missing}; --device cpu trains here")


def _no_cuda() -> str:
    import torch

    return "" if torch.cuda.is_available() else f"torch {torch.__version__} sees no GPU, expected one"


def _no_mps() -> str:
    import torch

    if (system := platform.system()) != "Darwin":
        return f"Apple's GPUs are found on macOS, this is {system}"
    return "" if torch.backends.mps.is_available() else f"torch {torch.__version__} sees no GPU, expected Apple's"


def _no_xla() -> str:
    if find_spec("torch_xla") is None:
        return "the package 'torch_xla' is not installed, expected the one of torch's own version"
    import torch_xla  # type: ignore[import-not-found]  # where it is installed

    try:
        torch_xla.device()
    except RuntimeError as error:
        return f"torch_xla finds no device: {' '.join(str(error).split())}"
    return ""


_MISSING = {"cuda": _no_cuda, "mps": _no_mps, "xla": _no_xla}
"""Device → what is missing to train on it; empty: nothing."""


def _require_precision(precision: Precision, device: Device, technique: Mode) -> None:
    if precision != "fp16":
        return
    if device == "xla":
        raise ExportError("--precision fp16: TPUs have bf16, expected --precision bf16")
    if not isinstance(technique, Parallel | DataParallel | LocalSgd):
        raise ExportError(
            f"--precision fp16: with training.mode {technique.mode!r} gradients leave a worker before their scale is "
            "taken off, expected --precision bf16"
        )


def can_compile(device: Device) -> bool:
    """Whether torch.compile works on the device: tried once, in some seconds; told on stderr where it does not."""
    import torch

    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # training processes may have no children
    try:
        torch.compile(_tried)(torch.zeros(2, device=device))
    except Exception as error:  # a compiler's, a driver's or torch's own: what is missing has no type in common
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        print(f"tutti export: --compile: torch.compile does not work here ({reason}); not compiled", file=sys.stderr)
        return False
    return True


def _tried(x):  # type: ignore[no-untyped-def]  # what torch.compile gets
    return x * 2 + 1
