"""Made-up measurements whose medians and ratios are known."""

from __future__ import annotations

from loadtest.peers.catalogue import Kind
from loadtest.peers.comparison import Measurement
from loadtest.peers.wrk import Figures


def figures(rps: int, p99_us: int = 1000, errors: int = 0) -> Figures:
    """One second of `rps` good answers and `errors` answers above 399."""
    return Figures(
        requests=rps + errors, microseconds=1_000_000, p50_us=p99_us // 2, p99_us=p99_us, max_us=p99_us,
        status=errors, connect=0, read=0, write=0, timeout=0,
    )  # fmt: skip


def measurement(
    peer: str, number: int, rps: int, *, p99_us: int = 1000, errors: int = 0, kind: Kind = "peer", connections: int = 64
) -> Measurement:
    """`peer` in round `number`."""
    return Measurement(
        round=number, peer=peer, title=peer.title(), kind="tutti" if peer == "tutti" else kind, ensemble="tiny",
        protocol="json", connections=connections, figures=figures(rps, p99_us, errors), others=0.1, server_cpu_s=0.5,
    )  # fmt: skip
