"""This machine's answers to golden rows, held against the stored ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from model_repo import Manifest
from server.errors import LoadError
from server.runtime.datatypes import Array
from server.runtime.golden.closeness import closeness
from server.runtime.golden.golden_rows import GoldenRows
from server.runtime.prediction import FUSION, MemberFailure
from server.runtime.side_model import SCORE


class Evaluated:
    """This machine's answers to golden rows, gathered batch by batch, and who left rows out and why."""

    def __init__(self) -> None:
        self.silent: dict[str, str] = {}
        self._batches: list[tuple[Array, Array, Mapping[str, Array]]] = []

    def add(self, members: Array, fused: Array, beside: Mapping[str, Array], failures: Sequence[MemberFailure]) -> None:
        """One batch: members [n, K, C], fused [n, C], and what detectors and extras gave."""
        self._batches.append((members, fused, beside))
        self.silent |= {failure.member: failure.detail for failure in failures}

    @property
    def members(self) -> Array:
        """float64 [n, K, C]."""
        return np.concatenate([members for members, _, _ in self._batches])

    @property
    def fused(self) -> Array:
        """float64 [n, C]."""
        return np.concatenate([fused for _, fused, _ in self._batches])

    def beside(self, name: str) -> Array | None:
        """An output of detectors or extras [n, …]; None where a batch lacks it."""
        arrays = [beside[name] for _, _, beside in self._batches if name in beside]
        return np.concatenate(arrays) if len(arrays) == len(self._batches) else None


def compare(manifest: Manifest, golden: GoldenRows, given: Evaluated) -> None:
    """Raise LoadError 'golden' unless this machine's answers are the stored ones within `atol` + `rtol` × value.

    Members are compared first, so that one of them is blamed; the message names the worst row, the values there,
    their difference and the tolerance. A NaN equals a NaN: a member that gave none to the exporter either.
    What is no float must be equal.
    """
    silent, members = given.silent, given.members
    for k, member in enumerate(manifest.members):
        _compare_fused(
            f"member {member.name!r}", members[:, k], golden.members[:, k], manifest, silent.get(member.name)
        )
    _compare_fused("the fused answer", given.fused, golden.fused, manifest, silent.get(FUSION))
    if SCORE in golden.beside:
        told = "; ".join(silent[d.name] for d in manifest.detectors if d.name in silent)
        _compare_plain(repr(SCORE), given.beside(SCORE), golden.beside[SCORE], manifest, told)
    for extra in manifest.extras:
        stored = golden.beside[extra.name]
        _compare_plain(f"extra {extra.name!r}", given.beside(extra.name), stored, manifest, silent.get(extra.name))


def _compare_fused(subject: str, given: Array, stored: Array, manifest: Manifest, silence: str | None) -> None:
    """Compare [n, C], or [n, …, C] with positions, which have no names."""
    if stored.ndim == 2:
        _compare(subject, given, stored, manifest, silence)
    else:
        _compare_plain(subject, given, stored, manifest, silence)


def _compare_plain(subject: str, given: Array | None, stored: Array, manifest: Manifest, silence: str | None) -> None:
    """Compare [n, …] that has no classes: floats within the tolerance, anything else exactly."""
    if given is None:
        raise LoadError("golden", f"{subject} gives no answer to golden rows: {silence}")
    rows = len(stored)
    if stored.dtype.kind == "f":
        _compare(subject, given.reshape(rows, -1), stored.reshape(rows, -1), manifest, silence, named=False)
    elif (wrong := np.flatnonzero((given != stored).reshape(rows, -1).any(axis=1))).size:
        row = int(wrong[0])
        values = (_shown(array[row]) for array in (given, stored))
        raise LoadError(
            "golden",
            "{} does not reproduce golden row {}: gives {}, stored is {} ({} of {} rows differ)".format(
                subject, row, *values, len(wrong), rows
            ),
        )


def _shown(row: Array) -> str:
    """A row's values for a message, cut where they are many."""
    text = str(row.tolist())
    return text if len(text) <= 200 else f"{text[:200]}…"


def _compare(
    subject: str, given: Array, stored: Array, manifest: Manifest, silence: str | None, *, named: bool = True
) -> None:
    """Compare floats [n, m]; `named`: the columns are the ensemble's classes, else they are one thing each row."""
    golden, classes = manifest.golden, manifest.classes if named else ()
    found = closeness(given, stored, golden.atol, golden.rtol, by_row=not named)
    far = found.far
    if not far.any():
        return
    row, column = found.worst
    where = f"golden row {row}" + (f", {classes[column]!r}" if classes else "")
    if np.isnan(given[row, column]):
        reason = f": {silence}" if silence else ""
        raise LoadError("golden", f"{subject} gives no answer to {where}{reason}")
    raise LoadError(
        "golden",
        f"{subject} does not reproduce {where}: gives {given[row, column]:.9g}, "
        f"stored is {stored[row, column]:.9g}, difference {found.difference[row, column]:.3g}, "
        f"tolerance {golden.atol:g} + {golden.rtol:g} × value "
        f"({int(far.any(axis=1).sum())} of {len(far)} rows differ){f': {silence}' if silence else ''}",
    )
