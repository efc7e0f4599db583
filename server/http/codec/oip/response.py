"""Open Inference Protocol answers: JSON, with raw tensors behind it where the client wants them so."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import msgspec

from server.http.codec import json_arrays
from server.http.codec.classification import best
from server.http.codec.declared import Form, OutputTensor, WantedOutput
from server.http.codec.reply import BINARY, HEADER_LENGTH, JSON, Headers, Reply
from server.http.codec.request import InferRequest
from server.http.codec.signature import Signature
from server.http.codec.tensors import DATATYPES, Array, to_bytes
from server.serving.batching.rows import Outputs, Rows

KEPT_FORMS = 64
"""Of one version; beyond that they are made anew."""

_encoder = msgspec.json.Encoder()
_BYTES_PREFIX = b',"datatype":"BYTES","shape":['


def encode_answer(
    request: InferRequest, outputs: Mapping[str, Array], signature: Signature, missing: tuple[str, ...] = ()
) -> Reply:
    """The answer to `request`; `outputs` are arrays `[rows, …]`, `missing` the members left out. Any thread."""
    if isinstance(outputs, Rows) and not missing and (reply := _from_rows(request, outputs, signature)) is not None:
        return reply
    blobs: list[bytes] = []
    tensors = [_tensor(wanted, outputs[wanted.tensor.name], signature, blobs) for wanted in request.wanted]
    parts = [b"{", signature.model_head]
    if request.id:
        parts += (b',"id":', _encoder.encode(request.id))
    if missing:
        parts += (b',"parameters":', _encoder.encode({"degraded": True, "missing": ",".join(missing)}))
    parts += (b',"outputs":[', b",".join(tensors), b"]}")
    head = b"".join(parts)
    marks = marks_of(signature, missing)
    if not any(wanted.binary for wanted in request.wanted):
        return Reply(200, (JSON, *marks), head)
    length = (HEADER_LENGTH, b"%d" % len(head))
    return Reply(200, (BINARY, length, *marks), b"".join((head, *blobs)))


def _from_rows(request: InferRequest, rows: Rows, signature: Signature) -> Reply | None:
    """The answer with every member, put together from what the whole batch shares; None for wide JSON and classes."""
    whole, start, stop = rows.whole, rows.start, rows.stop
    if stop - start == 1 and not request.id:
        # Requests of one row mostly want the same: the answers of a whole batch take less together than one by one.
        # Found by identity, as comparing takes longer than encoding; the tuple is kept, so its id stays its own.
        key = id(request.wanted)
        singles: list[Reply] | None
        try:
            _, singles = whole.memo[key]
        except KeyError:
            singles = _singles(request, whole, signature)
            whole.memo[key] = request.wanted, singles
        if singles is not None:
            return singles[start]
    count = b"%d" % (stop - start)
    parts = [signature.opening]
    if request.id:
        parts = [b"{", signature.model_head, b',"id":', _encoder.encode(request.id), b',"outputs":[']
    blobs: list[bytes] = []
    for wanted in request.wanted:
        tensor = wanted.tensor
        if wanted.classes or tensor.varies:
            return None
        if wanted.binary:
            blob = _blob(whole, tensor, start, stop)
            blobs.append(blob)
            parts += (tensor.prefix, count, tensor.sized, b"%d" % len(blob), b"}}", b",")
            continue
        if (texts := _texts(whole, tensor)) is None:
            return None
        if stop - start == 1:
            parts += (tensor.one, texts[start], b"]}", b",")
        else:
            parts += (tensor.prefix, count, tensor.middle, b",".join(texts[start:stop]), b"]}", b",")
    parts[-1] = b"]}"
    head = b"".join(parts)
    if not blobs:
        return Reply(200, signature.json_headers, head)
    return _binary_reply(head, b"".join(blobs), signature)


def _singles(request: InferRequest, whole: Outputs, signature: Signature) -> list[Reply] | None:
    """The answer to each row of the batch as if it were a request of its own; None for wide JSON and classes."""
    form = signature.forms.get(id(request.wanted)) or _form(request.wanted, signature)
    columns: list[list[bytes]] = []
    blobs: list[list[bytes]] = []
    for wanted in request.wanted:
        tensor = wanted.tensor
        if wanted.classes or tensor.varies:
            return None
        if not wanted.binary:
            if (texts := _texts(whole, tensor)) is None:
                return None
            columns.append(texts)
            continue
        cut = [_blob(whole, tensor, row, row + 1) for row in range(len(whole.arrays[tensor.name]))]
        blobs.append(cut)
        if not tensor.kind.size:
            columns.append([b"%d" % len(blob) for blob in cut])
    template, headers = form.template, form.headers
    if not blobs:
        return [Reply(200, headers, template % texts) for texts in zip(*columns, strict=True)]
    bodies = blobs[0] if len(blobs) == 1 else [b"".join(row) for row in zip(*blobs, strict=True)]
    if columns:
        heads = [template % row for row in zip(*columns, strict=True)]
        return [_binary_reply(head, body, signature) for head, body in zip(heads, bodies, strict=True)]
    head = template % ()
    return [Reply(200, headers, head + body) for body in bodies]


def _form(wanted: tuple[WantedOutput, ...], signature: Signature) -> Form:
    """What is fixed of answers of one row: kept by identity, as comparing takes longer than making."""
    fixed: list[bytes] = []
    for one in wanted:
        tensor = one.tensor
        if one.binary:
            size = b"%d" % (tensor.kind.size * prod(tensor.shape[1:])) if tensor.kind.size else b"%b"
            fixed.append(_literal(tensor.prefix + b"1" + tensor.sized) + size + b"}}")
        else:
            fixed.append(_literal(tensor.one) + b"%b]}")
    template = _literal(signature.opening) + b",".join(fixed) + b"]}"
    headers = signature.json_headers
    if all(one.binary and one.tensor.kind.size for one in wanted):
        headers = _binary_reply(template % (), b"", signature).headers
    if len(signature.forms) >= KEPT_FORMS:
        signature.forms.clear()
    form = signature.forms[id(wanted)] = Form(wanted, template, headers)
    return form


def _literal(text: bytes) -> bytes:
    """As part of a template."""
    return text.replace(b"%", b"%%")


def _binary_reply(head: bytes, blobs: bytes, signature: Signature) -> Reply:
    """With every member: the JSON `head` and the tensors behind it."""
    length = (HEADER_LENGTH, b"%d" % len(head))
    return Reply(200, (BINARY, length, *signature.json_headers[1:]), head + blobs)


def _texts(whole: Outputs, tensor: OutputTensor) -> list[bytes] | None:
    """The JSON of each row of the batch; None for wide rows."""
    try:
        texts: list[bytes] | None = whole.memo[tensor.name]
    except KeyError:
        texts = whole.memo[tensor.name] = json_arrays.row_texts(whole.arrays[tensor.name])
    return texts


def _blob(whole: Outputs, tensor: OutputTensor, start: int, stop: int) -> bytes:
    """The binary form of some rows; numbers are cut from the bytes of the whole batch."""
    array = whole.arrays[tensor.name]
    if not tensor.kind.size:
        return to_bytes(array[start:stop], tensor.kind)
    key = tensor.name + "\0binary"
    try:
        data: bytes = whole.memo[key]
    except KeyError:
        data = whole.memo[key] = to_bytes(array, tensor.kind)
    size = len(data) // len(array)
    return data[start * size : stop * size]


def marks_of(signature: Signature, missing: tuple[str, ...]) -> Headers:
    """Headers that name the version that answered and the members it did without."""
    version = (b"tutti-version", b"%d" % signature.version)
    return (version, (b"tutti-degraded", ",".join(missing).encode())) if missing else (version,)


def _tensor(wanted: WantedOutput, array: Array, signature: Signature, blobs: list[bytes]) -> bytes:
    """One entry of `outputs`; its raw bytes, where it is binary, are added to `blobs`."""
    tensor, kind, prefix = wanted.tensor, wanted.tensor.kind, wanted.tensor.prefix
    if wanted.classes:
        array = best(array, wanted, signature.manifest.classes)
        kind = DATATYPES["BYTES"]
        prefix = _encoder.encode({"name": tensor.name})[:-1] + _BYTES_PREFIX
    shape = ",".join(map(str, array.shape)).encode()
    if not wanted.binary:
        return b"".join((prefix, shape, b'],"data":', json_arrays.text(array.reshape(-1)), b"}"))
    blob = to_bytes(array, kind)
    blobs.append(blob)
    return b'%b%b],"parameters":{"binary_data_size":%d}}' % (prefix, shape, len(blob))
