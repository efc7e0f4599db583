"""gzip and deflate, and what a hostile stream may cost."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from server.errors import MalformedRequest, TooLarge, UnsupportedMedia
from server.http.codec.compression import MIN_BYTES, chosen, compress, decompress
from tests.server.http.asking import answer, tensor
from tests.server.http.memory import at_most

REQUEST = json.dumps({"inputs": [tensor()]}).encode()
PACKED = gzip.compress(REQUEST, mtime=0)  # the same bytes in every process: they name the tests below


@pytest.mark.parametrize(("encoding", "packed"), [
    ("gzip", PACKED), ("x-gzip", PACKED), ("GZIP ", PACKED),
    ("deflate", zlib.compress(REQUEST)), ("identity", REQUEST), ("", REQUEST),
])  # fmt: skip
def test_a_body_is_decompressed(encoding: str, packed: bytes) -> None:
    assert decompress(packed, encoding, 1 << 20) == REQUEST


def test_a_compressed_request_is_answered() -> None:
    assert answer(PACKED, content_encoding="gzip").status == 200


@pytest.mark.parametrize("packed", [
    b"", b"\x1f\x8b", b"hello", PACKED[:-1], PACKED[:-8], zlib.compress(REQUEST),
    PACKED[:-8] + bytes(8), PACKED + b"x", PACKED * 2,
])  # fmt: skip
def test_a_broken_stream_is_malformed(packed: bytes) -> None:
    with pytest.raises(MalformedRequest, match=r"^body: .*gzip"):
        decompress(packed, "gzip", 1 << 20)


def test_what_follows_the_stream_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="3 bytes are left after the deflate stream"):
        decompress(zlib.compress(REQUEST) + b"abc", "deflate", 1 << 20)


@pytest.mark.parametrize("encoding", ["br", "gzip, deflate", "chunked", "gzip\r\nx: y"])
def test_other_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(UnsupportedMedia, match="Content-Encoding"):
        decompress(b"x", encoding, 100)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_costs_no_more_than_the_limit(encoding: str) -> None:
    bomb = compress(bytes(256 << 20), encoding)
    assert len(bomb) < 2 << 20
    with at_most(8 << 20), pytest.raises(TooLarge, match="more than 1048576 bytes after decompression"):
        decompress(bomb, encoding, 1 << 20)


def test_exactly_the_limit_is_taken() -> None:
    assert decompress(gzip.compress(bytes(1000)), "gzip", 1000) == bytes(1000)
    with pytest.raises(TooLarge):
        decompress(gzip.compress(bytes(1001)), "gzip", 1000)


@pytest.mark.parametrize(("accept", "coding"), [
    (None, None), ("", None), ("gzip", "gzip"), ("deflate", "deflate"), ("deflate, gzip", "gzip"), ("br", None),
    ("gzip;q=0, deflate", "deflate"), ("GZIP;Q=0.5", "gzip"), ("gzip;q=abc", None), ("*", None), ("identity", None),
])  # fmt: skip
def test_the_answers_coding_is_one_that_the_client_takes(accept: str | None, coding: str | None) -> None:
    assert chosen(accept) == coding


@pytest.mark.parametrize(("coding", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_a_long_answer_is_compressed_and_a_short_one_is_not(coding: str, unpack: object) -> None:
    assert callable(unpack)
    short = answer(REQUEST, accept_encoding=coding)
    assert len(short.body) < MIN_BYTES
    assert b"content-encoding" not in dict(short.headers)
    rows = {"inputs": [tensor(shape=[50, 8, 8], data=[0.5] * 3200)]}
    plain, packed = answer(rows), answer(rows, accept_encoding=coding)
    assert dict(packed.headers)[b"content-encoding"] == coding.encode()
    assert unpack(packed.body) == plain.body
