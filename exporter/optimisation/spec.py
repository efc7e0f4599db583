"""What a recipe says of any network's training, and how the workers of one training go together. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the tables that a recipe consists of: unknown keys are refused."""


class Target(Spec, frozen=True, kw_only=True):
    """Figures that end a training when all that are given are reached, on rows that its steps do not see."""

    accuracy: Annotated[float, Meta(gt=0, le=1)] | None = None
    log_loss: Rate | None = None
    rmse: Rate | None = None
    mae: Rate | None = None

    @property
    def bounds(self) -> dict[str, float]:
        """Those that are given, by name."""
        every = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: bound for name, bound in every.items() if bound is not None}

    def reached(self, figures: Mapping[str, float]) -> bool:
        """Whether `figures`, which have every bound's name, are as good: accuracy at least, the others at most."""
        return all(
            figures[name] >= bound if name == "accuracy" else figures[name] <= bound
            for name, bound in self.bounds.items()
        )


class Optimisation(Spec, frozen=True, kw_only=True):
    """What every network's `training` table has: AdamW under a one-cycle rate, unless its family says otherwise."""

    epochs: Count = 25
    learning_rate: Rate = 5e-3
    """The peak of the cycle, where the rate goes through one."""
    weight_decay: NotNegative = 0.01
    """Decoupled with `adamw` (Loshchilov and Hutter 2019); with `adam` and `sgd` it is added to the gradient."""
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: Share = 0.9
    """Of `sgd`."""
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    """`one_cycle`: the rate rises and falls once over all steps; a training that stops early cuts it off."""
    report_every: Annotated[int, Meta(ge=0)] = 0
    """Steps between two points of the training curve; 0: one an epoch."""
    stop_at: Target | None = None
    """Training ends when these are reached: looked at with every point of the curve. Never reached: all epochs."""
    validation_share: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    """With `stop_at`: the share of the member's own rows that its steps do not see and the figures are taken on."""
    init_from: str | None = None
    """What training begins with in place of a fresh initialisation: `NAME/VERSION:MEMBER` (or NAME/latest:…) of the
    repository that is exported to, a member of the same recipe, or the path of a .safetensors file."""
    average: Literal["ema", "swa"] | None = None
    """Weights that are kept: those of the last step, or their mean over the way: `ema`, exponentially over steps
    (Polyak and Juditsky 1992); `swa`, over the ends of epochs (Izmailov et al. 2018)."""
    average_decay: Share = 0.99
    """Of `ema`: what of the mean stays in each step."""
    average_from: Share = 0.5
    """Share of the epochs before the mean begins."""


def by_gradient(spec: object) -> bool:
    """Whether networks are trained for a member or detector of this spec, which several workers can do together."""
    return isinstance(getattr(spec, "training", None), Optimisation)


class Technique(Spec, frozen=True, kw_only=True, tag_field="mode"):
    """`[training]` of a recipe: how members are trained, told apart by `mode`."""

    @property
    def mode(self) -> str:
        """The word in recipes."""
        return str(self.__struct_config__.tag)

    @property
    def gang(self) -> int:
        """How many workers train one member together."""
        return 1


FusedAnswer = Literal["geometric", "mean"]


class Parallel(Technique, frozen=True, kw_only=True, tag="parallel"):
    """Members, folds and seeds are tasks to themselves: as many at once as there are workers.

    With `joint` the members are one task for each fold: their networks are trained for the answer that they give
    together, loss = independence · mean of their own losses + (1 - independence) · loss of the fused answer.
    """

    joint: Literal["synchronous", "asynchronous"] | None = None
    """One step of all for each batch, or each at its own pace against the others' last published answers."""
    members: tuple[str, ...] = ()
    """Who trains jointly; empty: all whose network gives logits of classes."""
    independence: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """1: each member's own loss alone; 0: the fused answer's alone."""
    fused: FusedAnswer = "geometric"
    """What is fused in training: mean log-probabilities, or mean probabilities."""
    decorrelation: NotNegative = 0.0
    """Weight of negative correlation learning (Liu and Yao 1999): answers are driven apart from their mean."""
    mutual: NotNegative = 0.0
    """Weight of mutual learning (Zhang et al. 2018): each member matches the others' averaged answer."""
    epochs: Count | None = None
    """Of synchronous training; absent: as many as the member that asks for most."""
    staleness: Annotated[int, Meta(ge=0)] = 1
    """Epochs that a member of asynchronous training may be ahead of the slowest; it waits beyond."""


class _Together(Technique, frozen=True, kw_only=True, tag="together"):
    workers: Annotated[int, Meta(ge=1, le=1024)] = 2
    """Of one member's training."""
    stall_s: Rate = 120.0
    """A worker that is silent for so long, in seconds, is given up."""

    @property
    def gang(self) -> int:
        """As many as `workers`."""
        return self.workers


class DataParallel(_Together, frozen=True, kw_only=True, tag="data_parallel"):
    """Distributed gradient descent: each worker takes its part of every batch, gradients are averaged before a step."""


class LocalSgd(_Together, frozen=True, kw_only=True, tag="local_sgd"):
    """Each worker takes its own steps; every `period` an outer step moves all by the mean of their ways (DiLoCo)."""

    period: Count = 10
    """Steps between two synchronisations."""
    outer_rate: Rate = 1.0
    """Of the outer step along the mean of what the workers moved; 1 with no momentum is the plain mean."""
    outer_momentum: Share = 0.0
    """Nesterov's, of the outer steps."""


class Federated(LocalSgd, frozen=True, kw_only=True, tag="federated"):
    """Federated averaging (McMahan et al. 2017): each worker takes steps on rows of its own shard alone, and every
    `period` all go on from the mean of their weights by the shards' sizes. Rows are told to nobody."""

    period: Count = 20
    """Steps of a round."""
    shards: Literal["random", "by_class"] = "random"
    """Whose rows are whose: dealt at random, or neighbours in the order of their classes, which is hard."""


class _Asynchronous(_Together, frozen=True, kw_only=True, tag="asynchronous"):
    servers: Count = 1
    """Shards that the weights are kept in."""
    staleness: Annotated[int, Meta(ge=0)] = 4
    """A gradient of weights that more than so many pushes have changed since is not taken; its worker pulls again."""
    scale_by_staleness: bool = True
    """A gradient that τ pushes have overtaken moves the weights by 1 / (1 + τ) of the rate."""
    keep_every: Count = 50
    """Pushes after which a server keeps its weights on the disk; one that dies goes on from there."""
    stall_s: Rate = 30.0
    """A worker that is silent for so long, in seconds, loses its batch to another, and a server is started anew."""


class ParameterServer(_Asynchronous, frozen=True, kw_only=True, tag="parameter_server"):
    """Workers pull weights from servers and push gradients to them, each at its own pace."""


class Dataflow(_Asynchronous, frozen=True, kw_only=True, tag="dataflow"):
    """Producers make batches and put them in a queue of bounded length; trainers take them, each at its own pace.

    Several trainers go together by servers of weights; one keeps its weights to itself.
    """

    workers: Annotated[int, Meta(ge=1, le=1024)] = 1
    """Trainers."""
    producers: Count = 1
    queue_batches: Count = 16
    """Batches that are made and not yet taken; producers wait beyond."""

    @property
    def gang(self) -> int:
        """Trainers and producers."""
        return self.workers + self.producers


Mode = Parallel | DataParallel | LocalSgd | Federated | ParameterServer | Dataflow
Device = Literal["cpu", "cuda", "mps", "xla"]
"""Where networks train: the CPU, an NVIDIA or AMD GPU, Apple's GPU, a TPU by PyTorch/XLA."""
Precision = Literal["float32", "bf16", "fp16"]
"""What products in networks are computed in while they train."""


class Hardware(Spec, frozen=True, kw_only=True):
    """Where and how the networks of a call train."""

    device: Device = "cpu"
    precision: Precision = "float32"
    compiled: bool = False
