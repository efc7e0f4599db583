"""The wire format that a call speaks: requests and answers by it, and what of them would hold up the event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.errors import UnsupportedMedia
from server.http.codec.call import V2_MEDIA, Call
from server.http.codec.compression import MIN_BYTES, chosen, compress
from server.http.codec.compression import OFF_LOOP_BYTES as COMPRESS_OFF_LOOP_BYTES
from server.http.codec.errors import shown
from server.http.codec.images import MEDIA_TYPES
from server.http.codec.limits import OFF_LOOP_BYTES, OFF_LOOP_ELEMENTS, OFF_LOOP_MISSING_BYTES, Limits
from server.http.codec.oip.request import decode_request, header_length_of
from server.http.codec.oip.response import encode_answer
from server.http.codec.reply import Reply
from server.http.codec.request import InferRequest
from server.http.codec.signature import Signature
from server.http.codec.v1.request import decode_predict
from server.http.codec.v1.response import encode_predictions

if TYPE_CHECKING:
    from server.serving.batching.answer import Answer

FEW_NUMBERS = 2048
"""Of an answer, whatever is asked for: never heavy to encode, nor to compress."""


def decoded(call: Call, body: bytes, signature: Signature, limits: Limits) -> InferRequest:
    """The request in `body`. Raises MalformedRequest, InvalidTensor, TooLarge or UnsupportedMedia."""
    if call.protocol == "v1":
        return decode_predict(body, call.content_type, signature, limits)
    if call.content_type not in V2_MEDIA:
        _check_media(call.content_type)
    header_length = None if call.header_length is None else header_length_of(call.header_length, len(body))
    return decode_request(body, header_length, signature, limits)


def encoded_reply(call: Call, request: InferRequest, answer: Answer, signature: Signature) -> Reply:
    """The answer as the call wants it, compressed where it asked for that."""
    encode = encode_answer if call.protocol == "v2" else encode_predictions
    reply = encode(request, answer.outputs, signature, answer.missing)
    if call.accept_encoding is None or len(reply.body) < MIN_BYTES or (coding := chosen(call.accept_encoding)) is None:
        return reply
    return _compressed(reply, coding)


def heavy_to_decode(call: Call, body: bytes, signature: Signature) -> bool:
    """Whether decoding takes so long that other requests would notice: much JSON, many strings, any image."""
    if len(body) > OFF_LOOP_BYTES:
        json_bytes = header_length_of(call.header_length, len(body)) if call.protocol == "v2" else None
        return json_bytes is None or json_bytes > OFF_LOOP_BYTES or _has_strings(signature)
    if len(body) > OFF_LOOP_MISSING_BYTES and call.header_length is None and _has_gaps(body, signature):
        return True
    if call.protocol == "v2":
        return False
    # An image of a few bytes can hold megapixels, as a body or as base64 in JSON.
    return any(i.image is not None for i in signature.inputs.values()) and (
        _media(call.content_type) in MEDIA_TYPES or b"b64" in body
    )


def _has_gaps(body: bytes, signature: Signature) -> bool:
    """Whether numbers may be missing, and some of this JSON's are."""
    return any(tensor.missing for tensor in signature.inputs.values()) and any(
        word in body for word in (b"null", b"NaN", b"Infinity")
    )


def _has_strings(signature: Signature) -> bool:
    return any(not tensor.kind.size for tensor in signature.inputs.values())


def heavy_to_encode(call: Call, request: InferRequest, answer: Answer) -> bool:
    """The same for encoding: many numbers as JSON, or enough of them to compress."""
    arrays = answer.outputs
    binary = {wanted.tensor.name for wanted in request.wanted if wanted.binary and wanted.tensor.kind.size}
    if sum(array.size for name, array in arrays.items() if name not in binary) > OFF_LOOP_ELEMENTS:
        return True
    size = sum(array.nbytes if name in binary else 12 * array.size for name, array in arrays.items())
    return size > COMPRESS_OFF_LOOP_BYTES and chosen(call.accept_encoding) is not None


def _check_media(content_type: str | None) -> None:
    media = _media(content_type)
    if media not in V2_MEDIA:
        raise UnsupportedMedia(
            f"Content-Type: {shown(media)} given, expected application/json or application/octet-stream"
        )


def _compressed(reply: Reply, coding: str) -> Reply:
    headers = (*reply.headers, (b"content-encoding", coding.encode()), (b"vary", b"accept-encoding"))
    return Reply(reply.status, headers, compress(reply.body, coding))


def _media(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()
