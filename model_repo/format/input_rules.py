"""What the inputs of a manifest must satisfy: names, shapes, the bodies that become their rows, and tokenizers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from model_repo.format.manifest import ImageInput, Input, Tokenizer
from model_repo.format.paths import is_name
from model_repo.wording import count, listed, name_problem, repeated

MAX_INPUTS = 64
MAX_DIMENSIONS = 8
MAX_DIMENSION = 2**31 - 1
MAX_TOKENIZERS = 16
MAX_TOKENIZER_BYTES = 64 * 2**20
"""Of one JSON file; vocabularies of 250,000 pieces have about 17 MB."""
MAX_ROW_TOKENS = 2**20
"""In all windows of a row: 8 MiB of ids."""

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
        for problem in (*_shape(entry), *_image(entry), *_text(entry), *_missing(entry)):
            yield f"input {entry.name!r}: {problem}"


def _shape(entry: Input) -> Iterator[str]:
    shape = entry.shape
    if not shape or shape[0] != -1:
        yield f"shape is {list(shape)}, expected the first dimension to be -1, the rows"
    if len(shape) > MAX_DIMENSIONS:
        yield f"shape has {len(shape)} dimensions, the limit is {MAX_DIMENSIONS}"
    if any(size == 0 or size > MAX_DIMENSION for size in shape):
        yield f"shape is {list(shape)}, expected dimensions of 1 to {MAX_DIMENSION}, or -1 where they vary"


def _missing(entry: Input) -> Iterator[str]:
    if entry.missing == "nan" and not entry.datatype.startswith("FP"):
        yield f"missing is nan, {entry.datatype} has none; expected FP16, FP32 or FP64"


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


def tokenizer_problems(tokenizers: Sequence[Tokenizer], inputs: Sequence[Input]) -> Iterator[str]:
    """One sentence per problem of the tokenizers."""
    if len(tokenizers) > MAX_TOKENIZERS:
        yield f"tokenizers has {len(tokenizers)} entries, the limit is {MAX_TOKENIZERS}"
    if twice := repeated(entry.name for entry in tokenizers):
        yield f"tokenizers has {listed(twice)} more than once"
    declared = {entry.name: entry for entry in inputs}
    for entry in tokenizers:
        if not is_name(entry.name):
            yield name_problem("tokenizer", entry.name)
        if entry.name in declared:
            yield f"tokenizer {entry.name!r} has the name of an input, expected one of its own"
        for problem in (*_source(entry, declared), *_windows(entry)):
            yield f"tokenizer {entry.name!r}: {problem}"


def _source(entry: Tokenizer, declared: Mapping[str, Input]) -> Iterator[str]:
    source = declared.get(entry.input)
    if source is None:
        yield f"input is {entry.input!r}, the ensemble's inputs are {listed(list(declared))}"
    elif source.datatype != "BYTES" or source.shape not in ((-1,), (-1, 1)):
        given = f"{source.datatype} {list(source.shape)}"
        yield f"input {entry.input!r} is {given}, expected BYTES [-1] or [-1, 1]"
    if entry.bytes > MAX_TOKENIZER_BYTES:
        yield f"its file has {entry.bytes} bytes, the limit is {MAX_TOKENIZER_BYTES}"


def _windows(entry: Tokenizer) -> Iterator[str]:
    if (entry.stride is None) != (entry.max_windows is None):
        given, absent = ("max_windows", "stride") if entry.stride is None else ("stride", "max_windows")
        yield f"has {given} without {absent}, expected both or neither"
    if entry.stride is not None and entry.stride > entry.max_tokens:
        yield f"stride is {entry.stride}, more than max_tokens, {entry.max_tokens}: tokens would be left out"
    if (tokens := entry.max_tokens * (entry.max_windows or 1)) > MAX_ROW_TOKENS:
        yield f"max_tokens × max_windows is {tokens}, the limit is {MAX_ROW_TOKENS}"
