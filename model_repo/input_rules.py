"""What the inputs of a manifest must satisfy: names, shapes, and the bodies that become their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from model_repo.manifest import ImageInput, Input
from model_repo.paths import is_name
from model_repo.wording import count, listed, name_problem, repeated

MAX_INPUTS = 64
MAX_DIMENSIONS = 8
MAX_DIMENSION = 2**31 - 1

_SHAPES = {
    "HW": ("height", "width"),
    "HWC": ("height", "width", "channels"),
    "CHW": ("channels", "height", "width"),
}


def input_problems(inputs: Sequence[Input]) -> Iterator[str]:
    """One sentence per problem of the ensemble's inputs."""
    if not 1 <= len(inputs) <= MAX_INPUTS:
        yield f"inputs has {count(len(inputs), 'entry', 'entries')}, expected 1 to {MAX_INPUTS}"
    if twice := repeated(entry.name for entry in inputs):
        yield f"inputs has {listed(twice)} more than once"
    for entry in inputs:
        if not is_name(entry.name):
            yield name_problem("input", entry.name)
        for problem in (*_shape(entry), *_image(entry), *_text(entry)):
            yield f"input {entry.name!r}: {problem}"


def _shape(entry: Input) -> Iterator[str]:
    shape = entry.shape
    if not shape or shape[0] != -1:
        yield f"shape is {list(shape)}, expected the first dimension to be -1, the rows"
    if len(shape) > MAX_DIMENSIONS:
        yield f"shape has {len(shape)} dimensions, the limit is {MAX_DIMENSIONS}"
    if any(size == 0 or size > MAX_DIMENSION for size in shape):
        yield f"shape is {list(shape)}, expected dimensions of 1 to {MAX_DIMENSION}, or -1 where they vary"


def _image(entry: Input) -> Iterator[str]:
    image = entry.image
    if image is None:
        return
    if entry.datatype in ("BYTES", "BOOL"):
        yield f"image needs a numeric datatype, not {entry.datatype}"
    if image.layout == "HW" and image.mode != "L":
        yield f"image has layout HW, which has no channels, and mode {image.mode}; expected mode L"
    if image.scale == 0:
        yield "image has scale 0, which makes every image black"
    expected = _image_shape(image)
    if len(entry.shape) != len(expected) or not all(map(_agrees, entry.shape, expected)):
        yield f"shape is {list(entry.shape)}, the image gives {list(expected)} ({image.layout})"


def _image_shape(image: ImageInput) -> tuple[int, ...]:
    sizes = {"height": image.height, "width": image.width, "channels": 1 if image.mode == "L" else 3}
    return (-1, *(sizes[axis] for axis in _SHAPES[image.layout]))


def _agrees(declared: int, given: int) -> bool:
    return declared in (-1, given)


def _text(entry: Input) -> Iterator[str]:
    if entry.text is None:
        return
    if entry.image is not None:
        yield "has both image and text, expected one of them"
    if entry.datatype != "BYTES":
        yield f"text needs datatype BYTES, not {entry.datatype}"
    if entry.shape not in ((-1,), (-1, 1)):
        yield f"shape is {list(entry.shape)}, a text is one element a row: expected [-1] or [-1, 1]"
