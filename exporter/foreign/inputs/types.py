"""One type and one layout for an input that several members take, each in its own."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.foreign.inputs.adapters import datatype
from exporter.foreign.model_file import ModelFileError
from exporter.foreign.sent import TO_NCHW, TO_NHWC
from server.runtime.datatypes import TensorInfo

_FLOAT = "tensor(float)"
_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)")
_SIGNED = ("tensor(int8)", "tensor(int16)", "tensor(int32)", "tensor(int64)")
_UNSIGNED = ("tensor(uint8)", "tensor(uint16)", "tensor(uint32)", "tensor(uint64)")


def agreed(name: str, entries: Sequence[TensorInfo], told: Sequence[str], members: Sequence[str]) -> str:
    """The type that clients send for entries of several types.

    Floats of several widths are FP32: what people have, and what FP64 is made from without loss; FP16 would lose.
    Integers are the widest, beside floats FP32 where they are tables. Raises ModelFileError where nobody can know.
    """
    types = list(dict.fromkeys(entry.type for entry in entries))
    if types == ["tensor(bfloat16)"]:
        return _FLOAT
    if len(types) == 1:
        return types[0]
    both = f"input '{name}': {', '.join(told)}"
    if "tensor(string)" in types:
        raise ModelFileError(f"{both}; texts are cast to nothing: --input MEMBER:TENSOR=NAME makes them two inputs")
    floats = [each for each in types if each in _FLOATS]
    if floats and any(len(entry.shape) > 2 and entry.type in ("tensor(uint8)", "tensor(int8)") for entry in entries):
        floating = next(k for k, entry in enumerate(entries) if entry.type in _FLOATS)
        eight = next(entry.type for entry in entries if entry.type not in _FLOATS)
        raise ModelFileError(
            f"{both}: bytes and floats are seldom the same numbers; say what becomes of bytes with "
            f"--adapt {members[floating]}:type={datatype(eight)},scale=1/255 (scale=1: just cast), or make them two "
            f"inputs with --input {members[floating]}:{entries[floating].name}=NAME"
        )
    if floats:
        return _FLOAT
    widest = [kind for kind in (_SIGNED, _UNSIGNED) if all(each in kind for each in types)]
    return max(types, key=widest[0].index) if widest else "tensor(int64)"


def layout_of(shape: Sequence[int | str | None], sizes: Sequence[int]) -> tuple[int, ...] | None:
    """The only order of dimensions that takes rows of `sizes` to rows of `shape`; None where the given one fits.

    None too where there is no such order, or several: then it is asked.
    """
    if len(shape) != 3 or len(sizes) != 3 or _fits(shape, sizes):
        return None
    moves = {perm: [sizes[axis - 1] for axis in perm[1:]] for perm in (TO_NHWC, TO_NCHW)}
    fitting = [
        perm
        for perm, moved in moves.items()
        if _fits(shape, moved)
        and any(isinstance(size, int) and size == have for size, have in zip(shape, moved, strict=True))
    ]
    return fitting[0] if len(fitting) == 1 else None


def _known(shape: Sequence[int | str | None], sizes: Sequence[int]) -> bool:
    """Whether any size is the same one, rather than open."""
    return any(isinstance(size, int) and size == have for size, have in zip(shape, sizes, strict=True))


def _fits(shape: Sequence[int | str | None], sizes: Sequence[int]) -> bool:
    return all(not isinstance(size, int) or have in (-1, size) for size, have in zip(shape, sizes, strict=True))
