"""The bodies that servers take and give: how rows become a request, and an answer becomes probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.peers.errors import WrongAnswerError
from loadtest.peers.networks import INPUT, OUTPUT

Protocol = Literal["json", "binary"]
Rows = NDArray[np.float32]

HEADER_LENGTH = "inference-header-content-length"
"""The Open Inference Protocol's binary extension: bytes of JSON before the tensors."""


@dataclass(frozen=True, slots=True)
class Request:
    """One POST: path, body and headers."""

    path: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Format:
    """What one server speaks in one protocol. `path` may hold `{ensemble}`."""

    path: str
    encode: Callable[[Rows], tuple[bytes, dict[str, str]]]
    decode: Callable[[bytes, Mapping[str, str]], Rows]
    """Body and headers (lower-case names) of an answer → float32 [n, C]; raises WrongAnswerError."""

    def request(self, ensemble: str, rows: Rows) -> Request:
        body, headers = self.encode(rows)
        return Request(self.path.format(ensemble=ensemble), body, headers)

    def answer(self, body: bytes, headers: Mapping[str, str]) -> Rows:
        """The probabilities float32 [n, C] in an answer's body; raises WrongAnswerError where there are none."""
        try:
            return np.asarray(self.decode(body, headers), dtype=np.float32)
        except (msgspec.DecodeError, KeyError, IndexError, TypeError, ValueError, StopIteration) as error:
            start = body[:200].decode("utf-8", "replace")
            raise WrongAnswerError(f"no probabilities in the answer {start!r}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Keyed:
    """JSON `{key_in: rows}` in, `{key_out: rows}` or, with `key_out` None, the rows themselves out."""

    key_in: str
    key_out: str | None
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})

    def encode(self, rows: Rows) -> tuple[bytes, dict[str, str]]:
        return msgspec.json.encode({self.key_in: numbers(rows)}), self.headers

    def decode(self, body: bytes, _: Mapping[str, str]) -> Rows:
        found = msgspec.json.decode(body)
        return np.array(found if self.key_out is None else found[self.key_out], dtype=np.float32)


def numbers(rows: Rows) -> list[Any]:
    """Nested lists whose numbers are as short as they were drawn: 0.1, not 0.10000000149011612."""
    found: list[Any] = np.round(rows.astype(np.float64), 4).tolist()
    return found


def _open_inference(rows: Rows) -> tuple[bytes, dict[str, str]]:
    tensor = {"name": INPUT, "datatype": "FP32", "shape": rows.shape, "data": numbers(rows.reshape(-1))}
    body = msgspec.json.encode({"inputs": [tensor], "outputs": [{"name": OUTPUT}]})
    return body, {"Content-Type": "application/json"}


def _open_inference_answer(body: bytes, _: Mapping[str, str]) -> Rows:
    tensor = _output(msgspec.json.decode(body))
    return np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"])


def _open_inference_binary(rows: Rows) -> tuple[bytes, dict[str, str]]:
    raw = rows.astype("<f4").tobytes()
    tensor = {"name": INPUT, "datatype": "FP32", "shape": rows.shape, "parameters": {"binary_data_size": len(raw)}}
    outputs = [{"name": OUTPUT, "parameters": {"binary_data": True}}]
    header = msgspec.json.encode({"inputs": [tensor], "outputs": outputs})
    return header + raw, {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(header)),
    }


def _open_inference_binary_answer(body: bytes, headers: Mapping[str, str]) -> Rows:
    length = int(headers[HEADER_LENGTH])
    tensor = _output(msgspec.json.decode(body[:length]))
    return np.frombuffer(body[length:], dtype="<f4").reshape(tensor["shape"])


def _output(answer: Any) -> Any:
    return next(tensor for tensor in answer["outputs"] if tensor["name"] == OUTPUT)


def _raw(rows: Rows) -> tuple[bytes, dict[str, str]]:
    return rows.astype("<f4").tobytes(), {"Content-Type": "application/octet-stream"}


def _raw_answer(body: bytes, _: Mapping[str, str]) -> Rows:
    return np.frombuffer(body, dtype="<f4").reshape(-1, 10)


def keyed(path: str, key_in: str = "instances", key_out: str | None = "predictions") -> Format:
    """JSON as most people write it: `{"instances": [[…]]}` → `{"predictions": [[…]]}`."""
    body = _Keyed(key_in, key_out)
    return Format(path, body.encode, body.decode)


def raw(path: str) -> Format:
    """The rows' little-endian float32 bytes, nothing else, both ways."""
    return Format(path, _raw, _raw_answer)


OPEN_INFERENCE = Format("/v2/models/{ensemble}/infer", _open_inference, _open_inference_answer)
OPEN_INFERENCE_BINARY = Format("/v2/models/{ensemble}/infer", _open_inference_binary, _open_inference_binary_answer)
