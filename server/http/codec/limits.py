"""What a request may cost, checked before memory is taken for it."""

from __future__ import annotations

from dataclasses import dataclass

MAX_TENSORS = 64
"""Inputs or outputs in one request, as many as an ensemble may declare (docs/FORMAT.md)."""
MAX_DIMENSIONS = 8
"""Dimensions of one tensor; onnx has operators for no more in practice, and nesting stays bounded."""
MAX_TIMEOUT_S = 3600.0
"""Longest deadline a client may ask for: the manifest's own bound for `timeout_s`."""
OFF_LOOP_BYTES = 256 * 1024
"""JSON above this many bytes is decoded off the event loop: about 2 ms of it (measured: 6 ms per 150,528 numbers)."""
OFF_LOOP_MISSING_BYTES = 16 * 1024
"""The same where numbers are missing, which are read one by one (measured: about 1 µs each)."""
OFF_LOOP_ELEMENTS = 32_768
"""The same for answers, in numbers: about 2 ms (measured: 60 ns each)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of a body (before and after decompression), rows of a request, elements of a tensor."""

    max_body_bytes: int = 64 * 1024 * 1024
    max_rows: int = 65_536
    max_elements: int = 16_777_216
    body_timeout_s: float = 30.0
