"""What clients send for an input in place of what the network takes: the difference is composed into its graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.runtime.datatypes import DATATYPES, NUMPY_TYPES, Array, TensorInfo

Dims = tuple[int | str | None, ...]

TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True)
class Sent:
    """None leaves a part as the network has it. In the order in which it is done to what arrives."""

    type: str | None = None
    """onnxruntime's type of what arrives, `tensor(uint8)`."""
    perm: tuple[int, ...] | None = None
    """Of the dimensions of what arrives, to the network's order."""
    size: tuple[int, int] | None = None
    """Height and width of what arrives, resized to the network's; the network's own: whatever size arrives."""
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def plain(self) -> bool:
        """Whether nothing is left to do."""
        return self == Sent()

    @property
    def counts(self) -> bool:
        """Whether numbers are computed with, beside being cast and moved."""
        return any(part is not None for part in (self.size, self.scale, self.mean, self.std))


def channel_axis(shape: Dims) -> int:
    """Where a mean of each channel belongs: the dimension of 1, 3 or 4 of a picture, else the last but for rank 2."""
    if len(shape) == 4:
        return 3 if shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4) else 1
    return 1 if len(shape) > 1 else 0


def picture_axes(shape: Dims) -> tuple[int, int]:
    """The dimensions of height and width of [n, C, H, W] or [n, H, W, C]."""
    return (1, 2) if channel_axis(shape) == 3 else (2, 3)


def target(own: Dims, sent: Sent) -> tuple[int, int] | None:
    """Height and width that pictures are resized to; None where they are not."""
    if sent.size is None:
        return None
    height, width = (own[axis] for axis in picture_axes(own))
    return (height, width) if isinstance(height, int) and isinstance(width, int) else sent.size


def arriving(own: TensorInfo, sent: Sent) -> TensorInfo:
    """The declaration of what arrives."""
    shape = list(own.shape)
    size = target(own.shape, sent)
    if size is not None and sent.size is not None:
        for axis, length in zip(picture_axes(own.shape), sent.size, strict=True):
            shape[axis] = None if size == sent.size else length
    if sent.perm is not None:
        back = np.argsort(sent.perm).tolist()
        shape = [shape[place] for place in back]
    return TensorInfo(own.name, sent.type or own.type, tuple(shape))


def applied(array: Array, own: TensorInfo, sent: Sent) -> Array:
    """The same in numpy: what the network takes, made of what arrives. float64 in between."""
    wanted = np.dtype(NUMPY_TYPES[DATATYPES[own.type]])
    if sent.perm is not None:
        array = array.transpose(sent.perm)
    if sent.counts:
        array = array.astype(np.float64)
        size = target(own.shape, sent)
        array = array if size is None else resized(array, picture_axes(own.shape), size)
        array = array * (1.0 if sent.scale is None else sent.scale)
        if sent.mean is not None:
            array = array - along(sent.mean, own.shape)
        if sent.std is not None:
            array = array / along(sent.std, own.shape)
    if wanted.kind in "iu" and array.dtype.kind == "f":
        limits = np.iinfo(wanted)
        array = np.clip(np.round(array), limits.min, limits.max)
    return np.ascontiguousarray(array.astype(wanted))


def along(values: tuple[float, ...], shape: Dims) -> NDArray[np.float64]:
    """One value for all, or one for each channel, in a shape that broadcasts."""
    if len(values) == 1:
        return np.array(values)
    sizes = [1] * len(shape)
    sizes[channel_axis(shape)] = len(values)
    return np.array(values).reshape(sizes)


def resized(array: Array, axes: tuple[int, int], size: tuple[int, int]) -> Array:
    """Linear between pixel centres, without smoothing: ONNX Resize, `half_pixel`."""
    for axis, length in zip(axes, size, strict=True):
        have = array.shape[axis]
        at = np.clip((np.arange(length) + 0.5) * have / length - 0.5, 0, have - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, have - 1)
        share = (at - low).reshape([-1 if place == axis else 1 for place in range(array.ndim)])
        array = np.take(array, low, axis) * (1 - share) + np.take(array, high, axis) * share
    return array
