"""PNG and JPEG bodies to one row of an input."""

from __future__ import annotations

import io
import re
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from model_repo import ImageInput
from server.errors import MalformedRequest, TooLarge
from server.http.codec.tensors import Array, Datatype

FORMATS = ("PNG", "JPEG")
"""The only decoders that run: Pillow has fifty, some of which start programs."""
MEDIA_TYPES = {"image/png": "PNG", "image/jpeg": "JPEG"}

_DAMAGE = (
    OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, EOFError,
    struct.error, zlib.error, MemoryError, RuntimeError, Warning,
)  # fmt: skip
"""What Pillow's decoders raise on damaged files; warnings where the process makes them errors."""


def row_of(body: bytes, spec: ImageInput, kind: Datatype, max_pixels: int, field: str, fmt: str | None = None) -> Array:
    """The image as an array `[1, …]` in the input's layout and datatype.

    The size is read from the header and checked before any pixel is decoded. EXIF orientation is applied, alpha is
    dropped, 16-bit greys keep their upper 8 bits. `fmt` is PNG or JPEG where the client said which, else either.
    Raises MalformedRequest or TooLarge. Takes milliseconds: call it off the event loop.
    """
    try:
        with Image.open(io.BytesIO(body), formats=FORMATS) as image:
            _check(image, max_pixels, field, fmt)
            pixels = _pixels(image, spec)
    except (MalformedRequest, TooLarge):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        given = re.search(r"\d+ pixels", str(error))
        raise TooLarge(f"{field}: {given[0] if given else 'too many'} given, at most {max_pixels} are taken") from error
    except UnidentifiedImageError as error:
        raise MalformedRequest(f"{field}: is no PNG or JPEG image") from error
    except _DAMAGE as error:
        raise MalformedRequest(f"{field}: the image is damaged or of an unknown variant") from error
    return _laid_out(pixels, spec, kind)[np.newaxis]


def _check(image: Image.Image, max_pixels: int, field: str, fmt: str | None) -> None:
    if fmt is not None and image.format != fmt:
        raise MalformedRequest(f"{field}: is a {image.format} image, Content-Type says {fmt}")
    width, height = image.size
    if width * height > max_pixels:
        raise TooLarge(f"{field}: {width} × {height} pixels given, at most {max_pixels} are taken")


def _pixels(image: Image.Image, spec: ImageInput) -> Array:
    """Decoded, upright, in the input's mode and size: uint8 `[height, width]` or `[height, width, 3]`."""
    image.load()
    upright = ImageOps.exif_transpose(image) or image
    if upright.mode.startswith("I"):
        # Pillow's own conversion cuts 16-bit values at 255 instead of scaling them.
        upright = Image.fromarray((np.asarray(upright).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    converted = upright if upright.mode == spec.mode else upright.convert(spec.mode)
    size = (spec.width, spec.height)
    if converted.size != size:
        converted = converted.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(converted)


def _laid_out(pixels: Array, spec: ImageInput, kind: Datatype) -> Array:
    if spec.layout == "CHW":
        pixels = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[np.newaxis]
    elif spec.layout == "HWC" and pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if spec.scale == 1.0:
        return np.ascontiguousarray(pixels, kind.dtype)
    scaled: np.ndarray[Any, Any] = pixels * np.float64(spec.scale)
    return np.ascontiguousarray(scaled, kind.dtype)
