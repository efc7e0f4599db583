"""The ways in which the runtime makes its runs on one provider, and whether the provider works here at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from loadtest.accelerators.errors import DeviceError
from loadtest.peers.networks import perceptron
from model_repo import Provider
from server.runtime.sessions.provider_options import BINDING, BUCKETS, GRAPHS, tuning
from server.runtime.sessions.providers import shortfall
from server.runtime.sessions.session import Model, Session, SessionError, SessionKey, available_providers

PROVIDERS: Mapping[str, str] = {
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""Word of the command line → onnxruntime's name."""


@dataclass(frozen=True, slots=True)
class Way:
    """One set of provider options under a short name."""

    name: str
    provider: Provider


def ways(word: str, options: Mapping[str, str], buckets: str = "powers", *, graphs: bool = False) -> tuple[Way, ...]:
    """From the plainest to the one with most on the device: plain, buckets, buffers and, where asked for, graphs.

    `options` are the provider's own, the same for all. Raises DeviceError for options that cannot be used and where
    the provider has no CUDA graphs.
    """
    name = PROVIDERS[word]
    own = {
        "plain": {BUCKETS: "off"},
        "buckets": {BUCKETS: buckets},
        "buffers": {BUCKETS: buckets, BINDING: "1"},
    }
    if graphs:
        if name not in GRAPHS:
            raise DeviceError(f"--graphs: {name} has no CUDA graphs; {', '.join(sorted(GRAPHS))} have")
        own["graphs"] = {BUCKETS: buckets, GRAPHS[name]: "1"}
    found = tuple(Way(key, Provider(name=name, options={**options, **more})) for key, more in own.items())
    for way in found:
        try:
            tuning(way.provider)
        except ValueError as error:
            raise DeviceError(str(error)) from error
    return found


def require(way: Way) -> None:
    """Raise DeviceError with one sentence unless a small network really runs on the way's provider."""
    data = perceptron(4, (), 2, seed=0).SerializeToString()
    key = SessionKey.of(hashlib.sha256(data).hexdigest(), {}, (way.provider,), 1)
    try:
        session = Session(key, Model(data))
    except SessionError as error:
        raise DeviceError(f"no session on {way.provider.name}: {error}") from error
    sentence = shortfall((way.provider,), session.providers, available_providers(), session.problem)
    if sentence is not None:
        raise DeviceError(f"no device to measure: {sentence}")
