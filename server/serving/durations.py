"""Durations as people read them."""

from __future__ import annotations


def spoken(seconds: float) -> str:
    """Seconds in the unit that has digits for them: `1 µs`, `3.2 ms`, `1.5 s`; nothing less than a microsecond."""
    if seconds < 1e-3:
        return f"{max(1, round(seconds * 1e6))} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"
