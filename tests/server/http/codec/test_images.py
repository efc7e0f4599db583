"""Image bodies: what is understood, and what is refused before it costs anything."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model_repo import ImageInput
from server.errors import MalformedRequest, TooLarge
from server.http.codec.images import row_of
from server.http.codec.tensors import DATATYPES
from tests.server.http.asking import predict
from tests.server.http.memory import at_most

GREY = ImageInput(mode="L", width=8, height=8, layout="HW")
RGB = ImageInput(mode="RGB", width=8, height=8, layout="CHW")
LIMIT = 1 << 20


def pixels(channels: int = 1) -> NDArray[Any]:
    values = np.random.default_rng(1).integers(0, 256, (8, 8, channels), dtype=np.uint8)
    return values[..., 0] if channels == 1 else values


def saved(image: Image.Image, fmt: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def row(body: bytes, spec: ImageInput = GREY, fmt: str | None = None, kind: str = "FP32") -> NDArray[Any]:
    return row_of(body, spec, DATATYPES[kind], LIMIT, "body", fmt)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(width: int, height: int, data: bytes) -> bytes:
    """A PNG that says any size and holds any data."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def test_greys_arrive_exactly() -> None:
    array = row(saved(Image.fromarray(pixels())))
    assert array.shape == (1, 8, 8)
    assert array.dtype == np.float32
    assert np.array_equal(array[0], pixels())


def test_scale_multiplies_and_the_datatype_is_the_inputs() -> None:
    spec = ImageInput(mode="L", width=8, height=8, layout="HWC", scale=1 / 255)
    array = row(saved(Image.fromarray(pixels())), spec)
    assert array.shape == (1, 8, 8, 1)
    assert np.array_equal(array[0, ..., 0], (pixels() * (1 / 255)).astype(np.float32))
    assert row(saved(Image.fromarray(pixels())), GREY, kind="UINT8").dtype == np.uint8


@pytest.mark.parametrize(("layout", "shape"), [("HWC", (1, 8, 8, 3)), ("CHW", (1, 3, 8, 8))])
def test_colours_are_laid_out_as_declared(layout: Any, shape: tuple[int, ...]) -> None:
    spec = ImageInput(mode="RGB", width=8, height=8, layout=layout)
    array = row(saved(Image.fromarray(pixels(3))), spec)
    assert array.shape == shape
    assert array.flags.c_contiguous
    assert np.array_equal(array[0] if layout == "HWC" else array[0].transpose(1, 2, 0), pixels(3))


def test_another_size_is_resized() -> None:
    flat = Image.new("L", (100, 30), 77)
    assert np.array_equal(row(saved(flat)), np.full((1, 8, 8), 77))


def test_a_palette_becomes_its_colours() -> None:
    image = Image.fromarray(np.full((8, 8, 3), (10, 200, 30), np.uint8)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.array_equal(row(saved(image), RGB)[0, :, 0, 0], [10, 200, 30])


def test_alpha_is_dropped() -> None:
    image = Image.fromarray(np.full((8, 8, 4), (10, 200, 30, 0), np.uint8), "RGBA")
    assert np.array_equal(row(saved(image), RGB)[0, :, 0, 0], [10, 200, 30])


def test_bilevel_is_black_and_white() -> None:
    assert set(np.unique(row(saved(Image.fromarray(pixels() > 127))))) == {0, 255}


def test_sixteen_bits_keep_their_upper_eight() -> None:
    wide = (pixels().astype(np.uint16) << 8) + 17
    assert np.array_equal(row(saved(Image.fromarray(wide)))[0], pixels())
    assert np.array_equal(row(saved(Image.fromarray(wide)), RGB)[0, 1], pixels())


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red, green, blue = row(saved(image, "JPEG", quality=95), RGB)[0, :, 4, 4]
    assert red > 200
    assert green < 60
    assert blue < 60


def test_exif_orientation_is_applied() -> None:
    image = Image.new("L", (8, 8), 0)
    image.paste(255, (0, 0, 8, 4))  # white above, black below
    exif = Image.Exif()
    exif[0x0112] = 3  # turned upside down
    array = row(saved(image, "JPEG", exif=exif, quality=95))[0]
    assert array[1].mean() < 20
    assert array[6].mean() > 235


@pytest.mark.parametrize("fmt", ["PNG", "JPEG"])
def test_truncated_anywhere_is_refused(fmt: str) -> None:
    body = saved(Image.fromarray(pixels(3)), fmt)
    # The last bytes are checksums and the end mark, which decoders do without.
    for length in range(len(body) - (24 if fmt == "PNG" else 2)):
        with pytest.raises(MalformedRequest, match=r"^body: (is no PNG or JPEG image|the image is damaged)"):
            row(body[:length], RGB)


@pytest.mark.parametrize("fmt", ["PNG", "JPEG"])
def test_flipped_bits_are_decoded_or_refused(fmt: str) -> None:
    body = saved(Image.fromarray(pixels(3)), fmt)
    rng = np.random.default_rng(2)
    for _ in range(1500):
        changed = bytearray(body)
        for _ in range(rng.integers(1, 4)):
            changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
        try:
            assert row(bytes(changed), RGB).shape == (1, 3, 8, 8)
        except (MalformedRequest, TooLarge):
            continue


def test_a_bomb_is_refused_by_the_size_it_says_before_it_is_decoded() -> None:
    body = png_of(30_000, 30_000, bytes(30_001 * 100))
    with at_most(1 << 20), pytest.raises(TooLarge, match="900000000 pixels"):
        row(body)


def test_a_picture_above_the_limit_is_refused_by_both_values() -> None:
    with pytest.raises(TooLarge, match=r"body: 1025 × 1024 pixels given, at most 1048576 are taken"):
        row(png_of(1025, 1024, b""))


def test_a_size_of_nothing_is_refused() -> None:
    with pytest.raises(MalformedRequest):
        row(png_of(0, 0, b""))


def test_huge_text_chunks_are_refused() -> None:
    body = saved(Image.fromarray(pixels()))
    bomb = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(80 << 20), 9))
    with pytest.raises(MalformedRequest):
        row(body[:33] + bomb + body[33:])


@pytest.mark.parametrize("fmt", ["GIF", "BMP", "TIFF", "PPM", "WEBP"])
def test_other_formats_are_not_even_tried(fmt: str) -> None:
    with pytest.raises(MalformedRequest, match="is no PNG or JPEG image"):
        row(saved(Image.fromarray(pixels()), fmt))


@pytest.mark.parametrize("body", [b"", b"\x89PNG", b"<svg/>", b"\xff\xd8\xff", bytes(1000)])
def test_no_image_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        row(body)


def test_a_body_of_another_type_than_its_header_says_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="is a PNG image, Content-Type says JPEG"):
        row(saved(Image.fromarray(pixels())), GREY, "JPEG")


def test_an_image_body_is_one_row_of_the_ensemble() -> None:
    reply = predict(saved(Image.fromarray(pixels())), content_type="image/png")
    assert reply.status == 200
    (prediction,) = json.loads(reply.body)["predictions"]
    numbers = predict({"instances": [(pixels() / 16).tolist()]})
    assert json.loads(numbers.body)["predictions"] == [prediction]


@pytest.mark.parametrize("way", ["task", "nowait"])
def test_images_in_base64_are_rows(way: Any) -> None:
    image = {"b64": base64.b64encode(saved(Image.fromarray(pixels()))).decode()}
    three = predict({"instances": [image] * 3}, way=way)
    assert len(json.loads(three.body)["predictions"]) == 3
    named = predict({"instances": [{"image": image}] * 3}, way=way)
    columns = predict({"inputs": {"image": [image] * 3}}, way=way)
    assert named.body == three.body
    assert columns.status == 200


def test_many_images_share_the_limit_of_pixels() -> None:
    large = {"b64": base64.b64encode(png_of(300, 300, bytes(301 * 300))).decode()}
    assert predict({"instances": [large] * 8}).status == 200
    reply = predict({"instances": [large] * 50})
    assert reply.status == 413
    assert b"instances[0]: 300 \xc3\x97 300 pixels given, at most 16000" in reply.body
