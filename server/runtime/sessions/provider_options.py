"""Options of an execution provider that are this server's, not onnxruntime's: batch buckets and device buffers.

They stand among the provider's options, in the manifest or in the settings, and begin with `tutti_`:
`tutti_batch_buckets` (`off`, `powers` or row counts such as `1,8,64`) and `tutti_io_binding` (`0` or `1`).
Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model_repo import Provider
from server.runtime.sessions.batch_buckets import Buckets

PREFIX = "tutti_"
BUCKETS, BINDING = "tutti_batch_buckets", "tutti_io_binding"

DEVICES: Mapping[str, str] = {
    "CPUExecutionProvider": "cpu",
    "CUDAExecutionProvider": "cuda",
    "TensorrtExecutionProvider": "cuda",
}
"""Provider → onnxruntime's name of the device that its buffers lie on; the CPU's are for tests."""

GRAPHS: Mapping[str, str] = {
    "CUDAExecutionProvider": "enable_cuda_graph",
    "TensorrtExecutionProvider": "trt_cuda_graph_enable",
}
"""Provider → its own option that captures CUDA graphs, which needs buffers at fixed addresses."""

_SWITCH = {"0": False, "1": True, "false": False, "true": True}


@dataclass(frozen=True, slots=True)
class Device:
    """Where buffers lie: onnxruntime's device name and number; `graphs` where runs are captured as CUDA graphs."""

    name: str
    number: int = 0
    graphs: bool = False


@dataclass(frozen=True, slots=True)
class Tuning:
    """How the runs of a session are made: padded to `buckets`, with buffers on `device`; None: neither."""

    buckets: Buckets | None = None
    device: Device | None = None


PLAIN = Tuning()
"""Runs as they come: the CPU's, unless told otherwise."""


def tuning(provider: Provider) -> Tuning:
    """What the provider's options ask for. Raises ValueError, whose message names the option, unless they fit."""
    options = provider.options
    for name in options:
        if name.startswith(PREFIX) and name not in (BUCKETS, BINDING):
            raise ValueError(f"unknown option {name!r}; there are {BUCKETS!r} and {BINDING!r}")
    buckets = _buckets(options.get(BUCKETS, "off"))
    graphs_option = GRAPHS.get(provider.name, "")
    graphs = _switch(options, graphs_option, default=False)
    if not _switch(options, BINDING, default=graphs):
        if graphs:
            raise ValueError(f"option {graphs_option!r} needs {BINDING!r}, which is {options[BINDING]!r}")
        return Tuning(buckets)
    if provider.name not in DEVICES:
        raise ValueError(f"option {BINDING!r} is for {', '.join(sorted(DEVICES))}, not for {provider.name}")
    if buckets is None:
        option = graphs_option if graphs else BINDING
        raise ValueError(f"option {option!r} needs {BUCKETS!r}, which is 'off': each size has buffers of its own")
    return Tuning(buckets, Device(DEVICES[provider.name], _number(options), graphs))


def chosen(providers: Sequence[Provider], actual: str) -> Tuning:
    """The tuning of that one of `providers` that a session really runs on first; plain where it is none of them."""
    return next((tuning(provider) for provider in providers if provider.name == actual), PLAIN)


def native(provider: Provider) -> dict[str, str]:
    """The options that onnxruntime knows, once the others are found valid. Raises ValueError as `tuning` does."""
    tuning(provider)
    return {name: value for name, value in provider.options.items() if not name.startswith(PREFIX)}


def _buckets(text: str) -> Buckets | None:
    if text == "off":
        return None
    try:
        return Buckets(() if text == "powers" else tuple(int(size) for size in text.split(",")))
    except ValueError as error:
        expected = "'off', 'powers' or ascending numbers of rows such as '1,8,64'"
        raise ValueError(f"option {BUCKETS!r} is {text!r}; expected {expected}") from error


def _switch(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = options.get(name)
    if text is None:
        return default
    if text.lower() not in _SWITCH:
        raise ValueError(f"option {name!r} is {text!r}; expected '0' or '1'")
    return _SWITCH[text.lower()]


def _number(options: Mapping[str, str]) -> int:
    text = options.get("device_id", "0")
    if not text.isdecimal():
        raise ValueError(f"option 'device_id' is {text!r}; expected a number such as '0'")
    return int(text)
