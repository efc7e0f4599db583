"""What fronts and engine say to each other: one bundle a turn of the loop, its header one of the two structs here.

Both ends are the same release, started by one another: there is no version to negotiate. Ids are the front's own.
Times are seconds of the machine's monotonic clock, which both event loops show.
"""

from __future__ import annotations

import msgspec


class Tensor(msgspec.Struct, array_like=True, frozen=True):
    """One array: numpy's dtype string, shape, and `size` bytes from `at` in the bundle's body; or strings."""

    dtype: str
    shape: tuple[int, ...]
    at: int
    size: int
    strings: list[str] | None


class Submit(msgspec.Struct, array_like=True, frozen=True):
    """A decoded request: which ensemble it asks for, the served version it was decoded for, and its rows."""

    id: int
    served: int
    name: str
    version: int | None
    label: str | None
    rows: int
    outputs: tuple[str, ...]
    deadline: float
    arrived: float
    feeds: list[Tensor]
    client: str
    """The client's address where requests are limited by it, else ""."""


class Ask(msgspec.Struct, array_like=True, frozen=True):
    """Which version answers for this name, version or label now?

    `refusing` where the front refuses a request if it is the one that it knows: then the request counts towards
    the client's rate, as it does where the answer is an error.
    """

    id: int
    name: str
    version: int | None
    label: str | None
    client: str
    refusing: bool


class Count(msgspec.Struct, array_like=True, frozen=True):
    """Finished requests of one version and outcome: counts per bucket of `tutti_request_seconds` and their sum."""

    ensemble: str
    version: str
    outcome: str
    buckets: list[int]
    seconds: float


class FromFront(msgspec.Struct, array_like=True):
    """Everything a front has to say in one turn of its loop."""

    submits: list[Submit] = []
    asks: list[Ask] = []
    cancelled: list[int] = []
    counts: list[Count] = []
    listening: bool = False


class Output(msgspec.Struct, array_like=True, frozen=True):
    """An output on offer; `shape` with -1 for the rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Served(msgspec.Struct, array_like=True, frozen=True):
    """One loaded version under an id that no other ever has; `manifest` as in `ensemble.json`."""

    id: int
    manifest: bytes
    outputs: list[Output]
    default_outputs: tuple[str, ...]


class Known(msgspec.Struct, array_like=True, frozen=True):
    """The answer to an Ask."""

    id: int
    served: int


class Result(msgspec.Struct, array_like=True, frozen=True):
    """The answer to a Submit, by the served version that it named; `names` are those of the outputs."""

    id: int
    names: list[str]
    outputs: list[Tensor]
    missing: tuple[str, ...]
    queue_s: float
    compute_s: float


class Failure(msgspec.Struct, array_like=True, frozen=True):
    """The error that a Submit or an Ask deserves; `served` is what serves now where it was Superseded, else 0."""

    id: int
    kind: str
    message: str
    retry_after_s: float = 0.0
    missing: tuple[str, ...] = ()
    served: int = 0


class Setup(msgspec.Struct, array_like=True, frozen=True):
    """What a front must know to start: the settings as JSON without the token, and the tunnel's socket."""

    settings: bytes
    tunnel: str
    index: int


class FromEngine(msgspec.Struct, array_like=True):
    """Everything the engine has to say to one front in one turn of its loop, in the order to be read."""

    setup: Setup | None = None
    forget: bool = False
    """Forget every served version told so far."""
    served: list[Served] = []
    known: list[Known] = []
    results: list[Result] = []
    failures: list[Failure] = []
    stop: bool = False
    """Stop accepting, finish what is in flight, leave."""
