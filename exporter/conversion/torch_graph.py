"""torch modules to ONNX by `torch.export` (the `dynamo` exporter)."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from onnx import ModelProto
from torch import nn

from exporter.conversion.dynamic_rows import MARKED_ROWS, thaw
from exporter.conversion.graph import OPSET, normalised
from exporter.errors import ConversionError
from model_repo import Input
from model_repo.format.manifest import Kind
from server.runtime.datatypes import NUMPY_TYPES

_EXAMPLE_ROWS = 3
"""Not 1: a size of 1 may be taken for a constant."""

_EXAMPLE_LENGTH = 12

# Of torch's own exporter about its own insides; each would be an error under -W error.
_NOISE = (
    (FutureWarning, ".*_check_is_size.*"),
    (FutureWarning, ".*LeafSpec.*"),
    (UserWarning, ".*were assigned during export.*"),
    (DeprecationWarning, ".*"),
)


def to_onnx(
    module: nn.Module, inputs: Sequence[Input], kind: Kind, columns: int, example_length: int = _EXAMPLE_LENGTH
) -> bytes:
    """The module as a normalised graph whose output [n, columns] is named after its kind. Raises ConversionError.

    Rows, and every dimension that is declared -1, are dynamic. `Dim.AUTO` is the one setting that takes
    bidirectional recurrent nets, and it lets a size that the code branches on freeze without an error:
    the parity sweep over batch sizes is what finds that. `example_length` is what other dynamic dimensions are
    traced with: long enough that no stride of the module makes a size of 1 of it.
    """
    return normalised(traced(module, inputs, kind, example_length), inputs, kind, columns)


def each_to_onnx(
    module: nn.Module, inputs: Sequence[Input], outputs: Sequence[str], columns: int, *, mapped: bool = False
) -> bytes:
    """The same for a module that gives a tuple of tensors [n, columns], named in that order. Raises ConversionError.

    `mapped`: the module uses `torch.func.vmap`, which needs `exporter.conversion.dynamic_rows`.
    """
    if not mapped:
        return normalised(traced(module, inputs, outputs), inputs, outputs, columns)
    model = traced(module, inputs, outputs, example_rows=MARKED_ROWS)
    thaw(model)
    return normalised(model, inputs, outputs, columns)


def traced(
    module: nn.Module,
    inputs: Sequence[Input],
    output: str | Sequence[str],
    example_length: int = _EXAMPLE_LENGTH,
    example_rows: int = _EXAMPLE_ROWS,
) -> ModelProto:
    """The module as torch exports it, its output named, or each of them; see `to_onnx`. Raises ConversionError."""
    examples = tuple(_example(entry, example_rows, example_length) for entry in inputs)
    dynamic = tuple({d: torch.export.Dim.AUTO for d, size in enumerate(entry.shape) if size == -1} for entry in inputs)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                examples,
                dynamo=True,
                input_names=[entry.name for entry in inputs],
                output_names=[output] if isinstance(output, str) else list(output),
                dynamic_shapes=(dynamic,) if _takes_any_number(module) else dynamic,
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ConversionError(f"torch cannot export {type(module).__name__}: {reason}") from error
    if program is None:
        raise ConversionError(f"torch exported nothing for {type(module).__name__}")
    return program.model_proto


def _takes_any_number(module: nn.Module) -> bool:
    """Whether `forward` has `*tensors`, which are one argument to torch."""
    return any(entry.kind is entry.VAR_POSITIONAL for entry in inspect.signature(module.forward).parameters.values())


def _example(entry: Input, rows: int, length: int) -> torch.Tensor:
    shape = (rows, *(length if size == -1 else size for size in entry.shape[1:]))
    return torch.from_numpy(np.zeros(shape, dtype=NUMPY_TYPES[entry.datatype]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on its own insides and on the torchvision that nobody asked for."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category, message in _NOISE:
                warnings.filterwarnings("ignore", message, category)
            yield
    finally:
        logger.setLevel(level)
