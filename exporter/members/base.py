"""What every member family offers: a spec for recipes, and a trained member that can answer and be converted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from exporter.data.dataset import Array, Rows
from exporter.errors import TrainingError
from exporter.optimisation.spec import Device, NotNegative, Optimisation, Share, Spec
from model_repo import Input
from model_repo.format.manifest import Datatype, Kind, Task


class Augmentation(Spec, frozen=True, kw_only=True):
    """Random changes of an image, each drawn evenly from ± the bound; a fresh draw per row and epoch.

    Photographs are flipped and cropped, drawings and characters turned and sheared.
    """

    degrees: NotNegative = 12.0
    scale: Share = 0.12
    shift_px: NotNegative = 0.8
    shear: NotNegative = 0.15
    flip: bool = False
    """Half of the rows are mirrored from left to right."""
    crop_px: Annotated[int, Meta(ge=0)] = 0
    """Whole pixels by which a row is moved; the border's pixels fill what that uncovers."""


class Training(Optimisation, frozen=True, kw_only=True):
    """How a torch member is trained: AdamW under a one-cycle learning rate."""

    batch_rows: Annotated[int, Meta(ge=2)] = 64
    augmentation: Augmentation | None = None


@dataclass(frozen=True)
class Tolerance:
    """How far ONNX outputs may be from the trained member's; see exporter.gate.parity."""

    atol: float
    rtol: float
    share: float = 1.0
    """Share of the rows that must be within; the rest is still held to `flip_margin`."""
    flip_margin: float = 1e-3
    """A row may change its class only where its two best probabilities were closer than this."""


NETWORK = Tolerance(atol=1e-5, rtol=1e-4)
"""float32 networks: other orders of summation."""
TREES = Tolerance(atol=1e-5, rtol=1e-5, share=0.999)
"""Sums of leaves in float32, which may be prices as well as shares.

A threshold may round to the other side for one row in a thousand (measured: 1 in 10,000 with float64 training)."""


@dataclass(frozen=True)
class Setting:
    """What a member is trained for; the same for all members of an ensemble but the seed."""

    inputs: tuple[Input, ...]
    """Every tensor that a member may take: the ensemble's inputs and what the server derives from them."""
    ranges: Mapping[str, tuple[float, float]]
    columns: int
    """C: the number of classes; 1 for a regression."""
    seed: int
    device: Device = "cpu"
    context: Mapping[str, Array] = field(default_factory=dict)
    """What members may look up beside the rows; see `Dataset.context`."""
    task: Task = "classification"

    def input(self, name: str) -> Input:
        """The tensor of that name. Raises TrainingError naming those there are."""
        for entry in self.inputs:
            if entry.name == name:
                return entry
        raise TrainingError(f"takes the tensor {name!r}, the data has {', '.join(e.name for e in self.inputs)}")


class Trained(Protocol):
    """A trained member. It answers with the raw output that `kind` names, as its ONNX graph will."""

    kind: Kind
    tolerance: Tolerance

    def predict(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """float32 [n, C] of inputs [n, ...]."""
        ...

    def to_onnx(self) -> bytes:
        """The member as a normalised ONNX graph: any of the setting's tensors by their names, one output [n, C].

        Raises ConversionError.
        """
        ...


@runtime_checkable
class Group(Protocol):
    """Several trained members of one ONNX graph: as `Trained`, but for an output each."""

    kind: Kind
    tolerance: Tolerance
    outputs: tuple[str, ...]
    """Names of the graph's outputs, one for each member."""

    def predict_each(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """float32 [n, members, C] of inputs [n, ...]."""
        ...

    def to_onnx(self) -> bytes:
        """All members as one normalised ONNX graph. Raises ConversionError."""
        ...


@dataclass(frozen=True)
class ExtraGraph:
    """A further ONNX graph of a member: the version gives its output, named `name`, to requests that ask for it."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    """As clients see it; the first dimension is -1, the rows, the others are fixed."""
    onnx: bytes
    """Normalised; its inputs are any of the setting's tensors by their names."""


@runtime_checkable
class Extended(Protocol):
    """A trained member that does more than vote."""

    def extras(self) -> tuple[ExtraGraph, ...]:
        """Graphs beside the member's own. Raises ConversionError."""
        ...

    def figures(self, test: Rows, extras: Mapping[str, bytes]) -> Mapping[str, float]:
        """What the graphs `extras`, by name, reach on test rows: fields of `Metrics`, shown beside the member's own.

        Raises ParityError where a graph computes something else than the member.
        """
        ...


class Family(Spec, frozen=True, kw_only=True, tag_field="family"):
    """A member of a recipe; `family`, with what the rows are, chooses the subclass. No training library is imported."""

    trainer: ClassVar[str]
    """`module:function` of what trains it, called with the spec, the rows and the setting; imported when it trains."""

    quantize: Literal["never", "auto", "int8"] = "never"
    """8-bit weights: `auto` takes them where they are faster on the machine that exports and cost next to nothing,
    `int8` in any case. See docs/recipes.md."""

    publish: bool = True
    """False: it is trained for others to begin with (`init_from`), and is no member of the ensemble."""

    @property
    def family(self) -> str:
        """The word in recipes, lists and manifests: `cnn`."""
        return str(self.__struct_config__.tag)

    @property
    def heads(self) -> int:
        """How many members it makes, all of one file; where it is more than one they are NAME-1, NAME-2, …"""
        return 1

    def train(self, rows: Rows, setting: Setting) -> Trained | Group:
        """The member trained on `rows`: deterministic for one seed, one thread. Raises TrainingError."""
        return trainer_of(type(self))(self, rows, setting)


Train = Callable[[Any, Rows, Setting], Trained | Group]
"""What an entry names: a spec of its own family, the rows and the setting → the member."""


@cache
def trainer_of(family: type[Family]) -> Train:
    """The function that the family's `trainer` names; imports torch. A wrong entry is a bug, a LookupError.

    Raises ModuleNotFoundError where a training library is not installed.
    """
    entry: str = getattr(family, "trainer", "")
    module, _, function = entry.partition(":")
    try:
        train: Train | None = getattr(import_module(module), function, None)
    except (ModuleNotFoundError, ValueError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name != module:
            raise  # not the entry's module, but a library that it needs
        train = None
    if train is None:
        raise LookupError(f"{family.__name__}.trainer is {entry!r}, expected MODULE:FUNCTION; this is a bug")
    return train


def names_of(member: str, heads: int) -> tuple[str, ...]:
    """The names of the members that a table of a recipe makes."""
    return (member,) if heads == 1 else tuple(f"{member}-{place}" for place in range(1, heads + 1))
