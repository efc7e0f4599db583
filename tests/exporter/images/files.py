"""CIFAR-10's files as their makers wrote them, with few rows: Python 2's pickles byte by byte, binary records."""

from __future__ import annotations

import struct

import numpy as np

from exporter.images.rows import Bytes


def photographs(rows: int, seed: int = 0) -> tuple[Bytes, list[int]]:
    """Noise uint8 [n, 32, 32, 3], and labels that go round the ten classes."""
    images = np.random.default_rng(seed).integers(0, 256, (rows, 32, 32, 3), dtype=np.uint8)
    return images, [row % 10 for row in range(rows)]


def by_planes(images: Bytes) -> Bytes:
    """[n, 3072]: all red, all green, all blue."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def python2_batch(images: Bytes, labels: list[int], kind: bytes = b"u1") -> bytes:
    """What Python 2's cPickle wrote (protocol 2) for {'data': array, 'labels': list}."""
    flat = by_planes(images)
    shape = _int(flat.shape[0]) + _int(flat.shape[1]) + b"\x86"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + _string(b"b") + b"\x87R"
    datatype = (
        b"cnumpy\ndtype\n"
        + _string(kind)
        + b"K\x00K\x01\x87R(K\x03"
        + _string(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    array += b"(K\x01" + shape + datatype + b"\x89" + _string(flat.tobytes()) + b"tb"
    listed = b"](" + b"".join(map(_int, labels)) + b"e"
    return b"\x80\x02}(" + _string(b"data") + array + _string(b"labels") + listed + b"u."


def binary_batch(images: Bytes, labels: list[int]) -> bytes:
    """Records of a label and 3,072 bytes."""
    return b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, by_planes(images), strict=True))


def idx(array: Bytes) -> bytes:
    """An IDX file of unsigned bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def _string(data: bytes) -> bytes:
    return b"U" + bytes([len(data)]) + data if len(data) < 256 else b"T" + struct.pack("<i", len(data)) + data


def _int(value: int) -> bytes:
    return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)
