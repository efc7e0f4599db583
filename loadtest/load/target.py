"""What is loaded: one ensemble of one server, found out by asking the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

import msgspec
import numpy as np

from loadtest.errors import TargetError
from loadtest.load.outcome import ANSWERED, explain, judge
from loadtest.load.payload import Protocol, Tensor, encode, random_inputs
from loadtest.load.wire import Address, Reply, exchange, request_bytes

T = TypeVar("T")

OURS = "tutti"
"""What a server of ours calls itself."""
MAX_REQUESTS = 64
MAX_REQUESTS_BYTES = 64 << 20


class _Server(msgspec.Struct):
    name: str
    extensions: list[str]


class _Metadata(msgspec.Struct):
    name: str
    inputs: list[Tensor]


class _IndexEntry(msgspec.Struct):
    name: str


@dataclass(frozen=True, slots=True)
class Target:
    """A server, an ensemble on it, and ready-made requests that differ from each other."""

    address: Address
    ensemble: str
    requests: tuple[bytes, ...]
    server: str = OURS
    """What the server calls itself."""


async def discover(
    address: Address,
    ensemble: str | None,
    *,
    rows: int,
    protocol: Protocol,
    seed: int,
    timeout_s: float,
) -> Target:
    """The target, after one request that was answered: a load of wrong requests would measure nothing.

    Without `ensemble` the server's only one is taken. Raises TargetError.
    """
    server = await _identity(address, timeout_s)
    name = ensemble or await _only_ensemble(address, timeout_s)
    path = f"/v2/models/{quote(name, safe='')}"
    reply = await exchange(address, request_bytes(address, "GET", path), timeout_s)
    if reply.status != 200:
        raise TargetError(f"{address}: ensemble '{name}': {explain(reply)}")
    metadata = _decoded(reply, _Metadata, f"{address}{path}")
    requests = _requests(address, path, metadata, rows, protocol, seed)
    first = await exchange(address, requests[0], timeout_s)
    if judge(first)[0] not in ANSWERED:
        raise TargetError(f"{address}: a first request to ensemble '{name}' is not answered: {explain(first)}")
    return Target(address, name, requests, server)


async def _identity(address: Address, timeout_s: float) -> str:
    """What the server calls itself; raises TargetError where it does not speak the protocol at all."""
    reply = await exchange(address, request_bytes(address, "GET", "/v2"), timeout_s)
    way_out = "expected the address that 'tutti serve' prints"
    if reply.status != 200:
        raise TargetError(f"{address} does not answer as a Tutti server: GET /v2 gives {reply.status}; {way_out}")
    try:
        return msgspec.json.decode(reply.body, type=_Server).name
    except msgspec.DecodeError:
        raise TargetError(
            f"{address} is not a Tutti server: what GET /v2 gives is no server's metadata; {way_out}"
        ) from None


async def _only_ensemble(address: Address, timeout_s: float) -> str:
    path = "/v2/repository/index"
    reply = await exchange(address, request_bytes(address, "POST", path), timeout_s)
    if reply.status != 200:
        raise TargetError(f"{address}: the index of ensembles: {explain(reply)}; name one with --ensemble")
    names = sorted({entry.name for entry in _decoded(reply, list[_IndexEntry], f"{address}{path}")})
    if len(names) != 1:
        there = f"it serves {', '.join(names)}" if names else "it serves none"
        raise TargetError(f"{address}: which ensemble? {there}; name one with --ensemble")
    return names[0]


def _requests(
    address: Address, path: str, metadata: _Metadata, rows: int, protocol: Protocol, seed: int
) -> tuple[bytes, ...]:
    rng = np.random.default_rng(seed)
    made: list[bytes] = []
    total = 0
    while not made or (len(made) < MAX_REQUESTS and total + len(made[-1]) <= MAX_REQUESTS_BYTES):
        body, headers = encode(metadata.inputs, random_inputs(metadata.inputs, rows, rng), protocol)
        made.append(request_bytes(address, "POST", f"{path}/infer", body, headers))
        total += len(made[-1])
    return tuple(made)


def _decoded(reply: Reply, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except msgspec.DecodeError as error:
        raise TargetError(f"{what} is not the Open Inference Protocol's: {error}") from error
