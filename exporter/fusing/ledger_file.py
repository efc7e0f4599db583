"""The ledger as files of a version, so that its fusion can be fitted anew; docs/FORMAT.md names the arrays."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter.bundle import INPUTS_FILE, LEDGER_FILE
from exporter.data.dataset import Array
from exporter.errors import LedgerError
from exporter.fusing.ledger import Labels, Ledger
from model_repo.format.manifest import Kind

MOST_INPUT_BYTES = 32 * 2**20
"""Of the rows that a version keeps, before compression: they are to stay small beside the members."""


@dataclass(frozen=True)
class LedgerTest:
    """The test rows of a ledger: `rows` int64 [m], `target` [m], `group` int64 [m], `outputs` float32 [m, C] each."""

    rows: Labels
    target: Array
    group: Labels
    outputs: tuple[NDArray[np.float32], ...]


def answers_npz(ledger: Ledger, test: LedgerTest) -> bytes:
    """`ledger.npz`: every member's raw answers to the ledger's and the test rows."""
    arrays: dict[str, NDArray[Any]] = {
        "members": np.array(ledger.members),
        "kinds": np.array(ledger.kinds),
        "rows": ledger.rows,
        "target": ledger.target,
        "fold": ledger.fold,
        "test:rows": test.rows,
        "test:target": test.target,
        "test:group": test.group,
    }
    for name, output, tested in zip(ledger.members, ledger.outputs, test.outputs, strict=True):
        arrays[f"output:{name}"], arrays[f"test:output:{name}"] = output, tested
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_answers(data: bytes) -> tuple[Ledger, LedgerTest]:
    """What `answers_npz` wrote. Raises LedgerError where it is something else."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            members = tuple(map(str, found["members"]))
            kinds = msgspec.convert(tuple(map(str, found["kinds"])), tuple[Kind, ...])
            outputs = tuple(found[f"output:{name}"] for name in members)
            tested = tuple(found[f"test:output:{name}"] for name in members)
            ledger = Ledger(members, kinds, found["rows"], found["target"], found["fold"], outputs)
            return ledger, LedgerTest(found["test:rows"], found["test:target"], found["test:group"], tested)
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, msgspec.ValidationError) as error:
        raise LedgerError(f"{LEDGER_FILE} is no ledger: {error}") from error


def inputs_npz(fusion: Mapping[str, Array], test: Mapping[str, Array], most: int = MOST_INPUT_BYTES) -> bytes | None:
    """`ledger-inputs.npz`: what clients send of the fusion rows and the test rows; None beyond `most` bytes."""
    arrays: dict[str, NDArray[Any]] = {}
    for prefix, inputs in (("", fusion), ("test:", test)):
        for name, array in inputs.items():
            if array.dtype == np.object_:
                arrays[f"{prefix}text:{name}"], arrays[f"{prefix}ends:{name}"] = _packed(array)
            else:
                arrays[f"{prefix}input:{name}"] = array
    if sum(array.nbytes for array in arrays.values()) > most:
        return None
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_inputs(data: bytes) -> tuple[dict[str, Array], dict[str, Array]]:
    """The fusion rows and the test rows that `inputs_npz` wrote. Raises LedgerError."""
    fusion: dict[str, Array] = {}
    test: dict[str, Array] = {}
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            for key in found.files:
                part, word = (test, key.removeprefix("test:")) if key.startswith("test:") else (fusion, key)
                sort, _, name = word.partition(":")
                if sort == "input":
                    part[name] = found[key]
                elif sort == "text":
                    part[name] = _unpacked(found[key], found[key.replace("text:", "ends:", 1)])
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise LedgerError(f"{INPUTS_FILE} holds no rows: {error}") from error
    return fusion, test


def _packed(texts: Array) -> tuple[NDArray[np.uint8], Labels]:
    """All texts as one UTF-8 string, uint8, and where each ends, in the array's shape: the longest pads no other."""
    encoded = [str(text).encode() for text in texts.ravel()]
    ends = np.cumsum([len(text) for text in encoded], dtype=np.int64).reshape(texts.shape)
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), ends


def _unpacked(blob: NDArray[np.uint8], ends: Labels) -> Array:
    data, flat = blob.tobytes(), ends.ravel().tolist()
    texts = [data[start:end].decode() for start, end in zip([0, *flat[:-1]], flat, strict=True)]
    found = np.empty(len(texts), dtype=np.object_)
    found[:] = texts
    return found.reshape(ends.shape)
