"""The servers that are compared: how each is started and what it speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from loadtest.peers.errors import PeerError
from loadtest.peers.formats import OPEN_INFERENCE, OPEN_INFERENCE_BINARY, Format, Protocol, keyed, raw

Kind = Literal["tutti", "peer", "ceiling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One row of the table. `family` is its environment's name too, and what `--peers` may say for all of it."""

    name: str
    family: str
    kind: Kind = "peer"
    title: str
    script: str = ""
    """In `servers/`; Tutti has none, it is its own command."""
    arguments: tuple[str, ...] = ()
    formats: Mapping[Protocol, Format] = field(default_factory=dict)
    start_limit_s: float = 60.0


_OPEN: Mapping[Protocol, Format] = {"json": OPEN_INFERENCE, "binary": OPEN_INFERENCE_BINARY}
_JSON_AND_RAW: Mapping[Protocol, Format] = {"json": keyed("/predict"), "binary": raw("/predict/binary")}


def tutti(name: str = "tutti", arguments: Sequence[str] = ()) -> Peer:
    """Tutti with more arguments to `tutti serve`; one process without any."""
    title = f"Tutti `{' '.join(arguments)}`" if arguments else "Tutti, one process"
    return Peer(name=name, family="tutti", kind="tutti", title=title, arguments=tuple(arguments), formats=_OPEN)


CATALOGUE: tuple[Peer, ...] = (
    tutti(),
    Peer(
        name="constant", family="constant", kind="ceiling", title="constant answer on Tutti's loop (ceiling)",
        script="constant.py", formats=_OPEN,
    ),
    Peer(name="mosec", family="mosec", title="mosec, one worker", script="mosec_server.py", formats=_JSON_AND_RAW),
    Peer(
        name="mosec-2", family="mosec", title="mosec, two workers", script="mosec_server.py",
        arguments=("--workers", "2"), formats=_JSON_AND_RAW,
    ),
    Peer(
        name="fastapi-tuned-2", family="fastapi", title="FastAPI tuned by hand, two workers",
        script="fastapi_tuned.py", arguments=("--workers", "2"), formats=_JSON_AND_RAW,
    ),
    Peer(
        name="fastapi-tuned", family="fastapi", title="FastAPI tuned by hand, one worker",
        script="fastapi_tuned.py", formats=_JSON_AND_RAW,
    ),
    Peer(
        name="mlserver", family="mlserver", title="MLServer, no parallel workers", script="mlserver_server.py",
        arguments=("--workers", "0"), formats={"json": OPEN_INFERENCE},
    ),
    Peer(
        name="mlserver-parallel", family="mlserver", title="MLServer, one parallel worker",
        script="mlserver_server.py", arguments=("--workers", "1"), formats={"json": OPEN_INFERENCE},
    ),
    Peer(
        name="pytriton", family="pytriton", title="PyTriton (Triton's C++ core)", script="pytriton_server.py",
        formats=_OPEN, start_limit_s=120,
    ),
    Peer(
        name="fastapi", family="fastapi", title="FastAPI + onnxruntime as most people write it",
        script="fastapi_plain.py", formats={"json": keyed("/predict")},
    ),
    Peer(
        name="litserve", family="litserve", title="LitServe", script="litserve_server.py",
        formats={"json": keyed("/predict")},
    ),
    Peer(
        name="bentoml", family="bentoml", title="BentoML", script="bentoml_server.py",
        formats={"json": keyed("/predict", "x", None)}, start_limit_s=120,
    ),
    Peer(
        name="ray", family="ray", title="Ray Serve", script="ray_server.py",
        formats={"json": keyed("/"), "binary": raw("/")}, start_limit_s=180,
    ),
)  # fmt: skip


def chosen(words: Sequence[str], catalogue: Sequence[Peer] = CATALOGUE) -> list[Peer]:
    """The peers named in the catalogue's order; a family's name stands for all of it. PeerError if unknown."""
    known = sorted({peer.name for peer in catalogue} | {peer.family for peer in catalogue})
    for word in words:
        if word not in known:
            raise PeerError(f"unknown peer '{word}'; there are {', '.join(known)}")
    return [peer for peer in catalogue if peer.name in words or peer.family in words]
