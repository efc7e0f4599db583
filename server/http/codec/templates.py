"""Requests that differ from an earlier one in their numbers only: decoded without reading the rest again.

Clients send one shape of JSON over and over. The bytes before and behind the `data` of a request that was decoded and
checked in full are kept; where both come again, everything but the numbers is known. That is sound because the bytes
between them must be one whole JSON array of numbers by themselves: then the document has the same structure. Anything
else (another length, a string, a number out of range) is left to the full way, which says what is wrong.
"""

from __future__ import annotations

import numpy as np

from server.http.codec.numbers import WRONG, numbers, offered, packed_of, together
from server.http.codec.request import InferRequest, Template
from server.http.codec.signature import Signature
from server.http.codec.tensors import Array, Datatype

KEPT = 64
"""Of one version; beyond that they are collected anew."""
LONGEST = 4096
"""Bytes around the numbers; longer is not worth keeping."""

ALIKE = 3
"""Requests from which one parse of all their numbers takes less than one each (32 of 64 numbers: 3.9 → 2.7 µs)."""

MOST_TOGETHER = 4096
"""Numbers of a request up to which copying them is cheaper than an array of its own for each."""

OPEN, SPACE = b"[ "

Known = tuple[InferRequest, dict[str, Array]]

_KEY = b'"data":'


def decoded(body: bytes, header_length: int | None, signature: Signature) -> Known | None:
    """The request and its feeds, where it is like an earlier one but for its numbers; None for the full way.

    The request is shared by all that are alike, and has no feeds itself. Any thread.
    """
    if header_length is not None:
        return _binary(body, header_length, signature)
    start = body.find(_KEY, 0, LONGEST) + len(_KEY)
    end = body.find(b"]", start) + 1
    template = signature.templates.get((body[:start], body[end:]))
    if template is None:
        return None
    try:
        if (packed := template.packed) is not None:
            array: Array = np.ndarray(template.shape, template.kind.dtype, packed.pack(*packed.decode(body[start:end])))
        else:
            array = numbers(body[start:end], template.kind, template.shape, template.elements)
    except WRONG:
        return None
    return template.request, {template.name: array}


def all_decoded(bodies: list[bytes], signature: Signature) -> list[Known | None]:
    """What `decoded` gives for each of several bodies that are all JSON: the numbers of those alike parsed together."""
    if len(bodies) < ALIKE:
        return [decoded(body, None, signature) for body in bodies]
    found: list[Known | None] = [None] * len(bodies)
    template: Template | None = None
    places: list[int] = []
    arrays: list[bytes] = []
    known = signature.templates
    for place, body in enumerate(bodies):
        start = body.find(_KEY, 0, LONGEST) + len(_KEY)
        end = body.find(b"]", start)
        this = known.get((body[:start], body[end + 1 :]))
        if this is None:
            continue
        first = start + 1 if body[start] == OPEN else start + 2
        plain = body[first - 1] == OPEN and (first == start + 1 or body[start] == SPACE)
        if not plain or this.packed is None or (template is not None and this is not template):
            found[place] = decoded(body, None, signature)
            continue
        template = this
        places.append(place)
        arrays.append(body[first:end])
    if template is None:
        return found
    block = together(arrays, template.kind, template.elements) if len(arrays) >= ALIKE else None
    if block is None:
        for place in places:
            found[place] = decoded(bodies[place], None, signature)
        return found
    rows, name, request = block.reshape(len(arrays), *template.shape), template.name, template.request
    for place, array in zip(places, rows, strict=True):
        found[place] = request, {name: array}
    return found


def all_binary(bodies: list[bytes], header_length: int, signature: Signature) -> list[Known | None]:
    """What `decoded` gives for each of several bodies with heads of this length: the numbers of those alike as one."""
    head = bodies[0][:header_length]
    template = signature.templates.get((head, b""))
    if len(bodies) < ALIKE or template is None or template.elements > MOST_TOGETHER:
        return [_binary(body, header_length, signature) for body in bodies]
    size = header_length + template.elements * template.kind.size
    alike = [body[header_length:] for body in bodies if len(body) == size and body.startswith(head)]
    block: Array = np.frombuffer(b"".join(alike), template.kind.dtype).reshape(len(alike), *template.shape)
    if len(alike) == len(bodies):
        name, request = template.name, template.request
        return [(request, {name: array}) for array in block]
    return [_binary(body, header_length, signature) for body in bodies]


def _binary(body: bytes, header_length: int, signature: Signature) -> Known | None:
    template = signature.templates.get((body[:header_length], b""))
    if template is None or len(body) - header_length != template.elements * template.kind.size:
        return None
    array: Array = np.frombuffer(body, template.kind.dtype, template.elements, header_length).reshape(template.shape)
    return template.request, {template.name: array if array.flags.aligned else array.copy()}


def remember_binary(head: bytes, request: InferRequest, signature: Signature) -> None:
    """Keep the JSON before the bytes of the only input."""
    (name, array), *others = request.feeds.items()
    kind = signature.inputs[name].kind
    if not others and not request.id and len(head) <= LONGEST and kind.size and kind.name != "BOOL":
        _keep((head, b""), name, kind, array, request, signature)


def remember(body: bytes, raw: bytes, request: InferRequest, signature: Signature) -> None:
    """Keep the bytes around `raw`, the JSON of the only input's numbers; not where a client numbers its requests."""
    start = body.find(_KEY) + len(_KEY)
    end = body.find(b"]", start) + 1
    prefix, suffix = body[:start], body[end:]
    if request.id or len(prefix) + len(suffix) > LONGEST or body[start:end].strip(b" \t\r\n") != raw:
        return
    # The word once and no escapes: then this key is that of the input, and no other place can be meant.
    if b"\\" in prefix or b"\\" in suffix or prefix.count(b'"data"') != 1 or b'"data"' in suffix:
        return
    (name, array), *others = request.feeds.items()
    kind = signature.inputs[name].kind
    if others or not offered(kind):
        return
    _keep((prefix, suffix), name, kind, array, request, signature)


def _keep(
    key: tuple[bytes, bytes], name: str, kind: Datatype, array: Array, request: InferRequest, signature: Signature
) -> None:
    if len(signature.templates) >= KEPT:
        signature.templates.clear()
    feedless = InferRequest({}, request.rows, request.outputs, request.wanted, "", request.timeout_s)
    packed = packed_of(kind, array.size)
    signature.templates[key] = Template(name, kind, array.shape, array.size, packed, feedless)
