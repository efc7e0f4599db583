"""TensorFlow Serving's predict answers."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from server.http.codec import json_arrays
from server.http.codec.oip.response import marks_of
from server.http.codec.reply import JSON, Reply
from server.http.codec.request import InferRequest
from server.http.codec.signature import Signature
from server.http.codec.tensors import Array

_encoder = msgspec.json.Encoder()


def encode_predictions(
    request: InferRequest, outputs: Mapping[str, Array], signature: Signature, missing: tuple[str, ...] = ()
) -> Reply:
    """`predictions` by rows or `outputs` by columns, as the question was; plain values where there is one output.

    The version and the members left out are named in headers, as the format has no place for them. Any thread.
    """
    return Reply(200, (JSON, *marks_of(signature, missing)), _body(request, outputs))


def _body(request: InferRequest, outputs: Mapping[str, Array]) -> bytes:
    key = b"predictions" if request.layout == "rows" else b"outputs"
    if len(request.outputs) == 1:
        values = json_arrays.text(outputs[request.outputs[0]])
        return b'{"%b":%b}' % (key, values)
    if request.layout == "columns":
        texts = [json_arrays.text(outputs[name]) for name in request.outputs]
        return b'{"outputs":%b}' % (_object(request.outputs) % tuple(texts))
    rows = zip(*[json_arrays.row_values(outputs[name]) for name in request.outputs], strict=True)
    template = _object(request.outputs)
    return b'{"predictions":[%b]}' % b",".join([template % row for row in rows])


def _object(names: tuple[str, ...]) -> bytes:
    """A JSON object with a place for the value of each name."""
    return b"{%b}" % b",".join([_encoder.encode(name).replace(b"%", b"%%") + b":%b" for name in names])
