"""Further outputs of an ensemble, given as the model gives them and only when asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from model_repo import Extra, Manifest
from server.runtime.datatypes import NUMPY_TYPES, Array, Feeds
from server.runtime.plans.plan import Sequential, Slot
from server.runtime.prediction import MemberFailure, OutputSpec
from server.runtime.side_model import Beside

MOST_SELECTIONS = 256
"""Sets of extras that are remembered; clients choose them, so there must be a bound."""


def extra_specs(manifest: Manifest) -> dict[str, OutputSpec]:
    """The outputs that the manifest's extras give; none of them is a default output."""
    return {extra.name: OutputSpec(extra.datatype, extra.shape) for extra in manifest.extras}


class Extras:
    """The extras of one ensemble, bound to their sessions. Any thread.

    Those of one file that are asked for together run once. A run is apart from the members', also where the file is
    a member's: members answer everybody, extras few.
    """

    def __init__(self, manifest: Manifest, slots: Sequence[Slot]) -> None:
        self.specs = extra_specs(manifest)
        self._extras: dict[str, tuple[Extra, Slot]] = {
            extra.name: (extra, slot) for extra, slot in zip(manifest.extras, slots, strict=True)
        }
        self._selections: dict[frozenset[str], Sequential] = {}

    def answer(self, asked: Collection[str], feeds: Feeds, rows: int) -> Beside:
        """The extras asked for; one that fails, or gives another shape than declared, is a failure and not there."""
        names = self._asked(asked)
        execution = self._plan(names).run(feeds)
        failures = list(execution.failures)
        outputs: dict[str, Array] = {}
        for name, raw in zip(names, execution.raw, strict=True):
            if raw is None:
                continue
            if (wrong := _wrong(self._extras[name][0], raw, rows)) is None:
                outputs[name] = raw
            else:
                failures.append(MemberFailure(name, "shape", wrong, "extra"))
        return Beside(outputs, tuple(failures))

    def refused(self, asked: Collection[str], rows: int, detail: str) -> Beside:
        """None of them."""
        failures = tuple(MemberFailure(name, "invalid_input", detail, "extra") for name in self._asked(asked))
        return Beside({}, failures)

    def models_of(self, asked: Collection[str]) -> frozenset[str]:
        """The extras asked for."""
        return frozenset(self._asked(asked))

    def _asked(self, asked: Collection[str]) -> list[str]:
        return [name for name in self._extras if name in asked]

    def _plan(self, names: Sequence[str]) -> Sequential:
        key = frozenset(names)
        if (plan := self._selections.get(key)) is None:
            if len(self._selections) >= MOST_SELECTIONS:
                self._selections.clear()
            plan = self._selections[key] = Sequential([self._extras[name][1] for name in names])
        return plan


def _wrong(extra: Extra, raw: Array, rows: int) -> str | None:
    """Why the array is not what the extra declares, as a predicate; None when it is."""
    expected = (rows, *extra.shape[1:])
    if raw.shape != expected:
        return f"gave {list(raw.shape)}, expected {list(expected)}"
    dtype = np.dtype(NUMPY_TYPES[extra.datatype])
    return None if raw.dtype == dtype else f"gave {raw.dtype}, expected {dtype}"
