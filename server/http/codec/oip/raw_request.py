"""Raw binary requests: a body that is the only input's tensor and nothing else, `Inference-Header-Content-Length: 0`.

Triton's extension: what JSON would say is deduced from the length. Several rows may come where a row has a fixed size.
"""

from __future__ import annotations

from math import prod

from server.errors import InvalidTensor, MalformedRequest
from server.http.codec.declared import InputTensor
from server.http.codec.limits import Limits
from server.http.codec.request import InferRequest
from server.http.codec.signature import Signature
from server.http.codec.tensors import check_shape, cut, from_bytes, object_array, text_of


def decode_raw(body: bytes, signature: Signature, limits: Limits) -> InferRequest:
    """The request whose body is the tensor; all default outputs, binary. Any thread.

    A body for an input of BYTES is one text, without a length before it. Raises MalformedRequest, InvalidTensor or
    TooLarge.
    """
    only = signature.only_input
    if only is None:
        raise InvalidTensor(
            f"Inference-Header-Content-Length: 0 given, but ensemble '{signature.ensemble}' has "
            f"{len(signature.inputs)} inputs; send JSON with their sizes in front"
        )
    if not body:
        raise MalformedRequest("body: is empty, expected the bytes of the tensor")
    shape = _shape(len(body), only)
    elements = check_shape(shape, only.shape, limits, "body")
    if only.kind.size:
        array = from_bytes(memoryview(body), only.kind, shape, elements, "body")
    else:
        array = object_array([text_of(body, "body")]).reshape(shape)
    wanted = signature.default_wanted[True]
    return InferRequest({only.name: array}, shape[0], signature.default_outputs, wanted)


def _shape(size: int, only: InputTensor) -> list[int]:
    """The shape behind so many bytes: of the dimensions of any length the last one is found, the others are 1."""
    if not only.kind.size:
        return [1 if length == -1 else length for length in only.shape]
    free = [place for place, length in enumerate(only.shape) if length == -1]
    if len(free) > 2:
        raise InvalidTensor(
            f"body: input '{only.name}' is {cut(only.shape)}, whose lengths cannot be told from {size} bytes; "
            "send JSON with the shape in front"
        )
    fixed = prod(length for length in only.shape if length != -1) * only.kind.size
    if size % fixed:
        raise MalformedRequest(
            f"body: {size} bytes given, input '{only.name}' takes {only.kind.name} {cut(only.shape)}: "
            f"a multiple of {fixed} bytes"
        )
    shape = [1 if length == -1 else length for length in only.shape]
    shape[free[-1]] = size // fixed
    return shape
